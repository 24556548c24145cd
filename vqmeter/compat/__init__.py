"""Command lines of other tools answered by vqmeter: libvmaf's `vmaf`."""
