"""What ships with the package: default dictionaries and a sample photograph. See README.md beside this file."""
