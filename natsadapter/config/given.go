package config

// Given reports whether a text gave a setting, such as "addr": a flag, the environment or the file,
// rather than the program's code. A program may decide by it what suits who has said nothing.
func (c *Config) Given(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.loaded.given[key]
	return ok
}
