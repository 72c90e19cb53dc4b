"""Image data: files, data sets, batches and their seeds, augmentation."""
