"""What training tells of the labels: whether a network can memorise, and which labels are wrong."""
