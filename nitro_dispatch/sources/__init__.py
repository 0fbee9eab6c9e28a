"""Where plugins may be, and what they say of themselves without being run."""
