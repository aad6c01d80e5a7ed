"""Where a watched run can go beside its folder: the terminal, TensorBoard, a logger such as wandb's."""
