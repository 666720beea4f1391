"""What finds damage."""
