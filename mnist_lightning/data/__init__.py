"""Image data: files, data sets, batches and their seeds, augmentation."""

IMAGE_KINDS = "BMP, GIF, JPEG, PNG, PPM, TIFF and WebP"  # here for help texts, which must not load Pillow
