"""Research library: arrays in, arrays out. It starts no clock, opens no socket and reads no environment."""
