"""Full-reference metrics: a distorted frame against its reference."""
