"""Pure ZIP bytes: records, CRC-32, file names."""
