// Package protocol holds the black-box tests of both protocols, Engine.IO 4 and Socket.IO 5: raw connections against two small programs, an
// echo of Engine.IO and an application of Socket.IO. Each case names the section of the document whose rule it checks, and runs
// against belfry and, with the flag -reference, against the reference, so that a case which asks for too much is found out.
package protocol
