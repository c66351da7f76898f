//! What to compute: graphs, gradients, passes and plans. Knows no device.
