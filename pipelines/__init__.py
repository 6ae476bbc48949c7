"""One module per DVC stage, and the commands beside them. Research computes; these read and write."""
