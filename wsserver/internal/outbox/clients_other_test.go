//go:build !linux

package outbox

func beClients() {}
