"""What Flask's routes share: machines' endpoints, people's pages, the headers of answers."""
