// Package figures bounds what a server costs, where that can be counted on any machine: allocations, heap
// bytes, system calls, goroutines. It has tests alone. The server is a process of its own, which collects
// garbage only when it is asked to, and its clients speak to it over TCP. What is counted is the least of
// several times, so that a busy machine makes no difference.
//
//	go test ./test/figures -v
//
// prints the table of table_linux_test.go with the rows that have changed, ready to be pasted. Take a figure
// that has fallen into the table, so that it stays where it is. If one has risen and that is meant, take that
// too, and say why in the commit. When changes that touch the table are merged, take either side's table, and
// then the rows that the test prints: no side has measured both changes together.
//
// Figures depend on Go's version; those of the heap are for 64 bits.
package figures
