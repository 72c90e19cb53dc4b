"""The images: files, data sets, batches and their seeds, augmentation."""
