"""All that knows TensorFlow, JAX or PyTorch by name, and the private names of Keras."""
