// Package chaos tests a cluster of processes while what is between them breaks: NATS servers are killed, stopped, retired, restarted and cut off,
// from each other and from their clients, and nodes are killed, stopped and cut off, while others come and go. Every process is in a network
// namespace of its own. A checker knows of each broadcast to whom it was due, and finds what was lost, doubled, out of order or not due.
//
// It has tests alone. TestChaos needs Linux, root and iproute2:
//
//	go test ./test/chaos -v -chaos 10m -timeout 1h
package chaos
