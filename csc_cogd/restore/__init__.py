"""What people call: one task a file, from damage model to restored picture."""
