import torch

torch.set_num_threads(1)  # small networks gain nothing from more, and the threads of several workers fight for cores
