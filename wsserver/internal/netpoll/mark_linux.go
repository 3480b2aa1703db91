package netpoll

import (
	"os"
	"syscall"
	"time"
)

// A connection's mark is its TCP_NOTSENT_LOWAT, in bytes: the kernel takes no more while so much
// waits that it has not sent once. What is still queued here can still be dropped, or overtaken by a
// ping. A Unix socket has no such option: there a stalled peer costs the kernel's default send buffer.
//
// Attach sets lowMark: a stalled peer then costs about 150 KB of kernel memory instead of megabytes.
// With frames of 16 KiB and more, it cuts writes short that a fast peer would have room for, and each
// costs an event and a turn. So a peer that is fast gets highMark, and loses it when it is slow. A
// higher one saved nothing more where it was measured.
//
// TCP_USER_TIMEOUT is left alone. It takes a peer that reads slowly for one that is gone: while the
// first segment that waits is larger than the peer's window, the kernel counts the time from when the
// window was shut first, whatever the peer takes meanwhile.
const (
	lowMark  = 16 << 10
	highMark = 64 << 10
)

// fastRate is what a fast peer takes, in bytes a second. At this rate, what is below highMark delays
// a ping by two seconds; at the lowest that a peer has to keep, what is below lowMark by 16.
const fastRate = 32 << 10

// Numbers that package syscall does not name on every architecture.
const (
	tcpNotSentLowat = 0x19
	siocOutq        = 0x5411 // SIOCOUTQ: what the peer has not acknowledged
)

func setMark(fd, mark int) error {
	err := syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpNotSentLowat, mark)
	// A kernel without the option (gVisor) serves as well; a stalled peer then costs more.
	if err != nil && err != syscall.ENOPROTOOPT {
		return os.NewSyscallError("setsockopt", err)
	}
	return nil
}

// A moment is a time in 64ths of a second. It wraps after 17 minutes: a peer that took as long
// counts as fast if it took next to exactly that, until its next write.
type moment uint16

const momentsASecond = 64

var epoch = time.Now()

func thisMoment() moment { return moment(time.Since(epoch) / (time.Second / momentsASecond)) }

// review gives the peer its mark, once the kernel takes bytes again: half the mark has been sent since
// the write was cut short, or more. c.mu must be held, and the connection open.
func (c *Conn) review() {
	mark, other := lowMark, highMark
	if c.flags&fast != 0 {
		mark, other = highMark, lowMark
	}
	took := int(thisMoment() - c.cut)
	isFast := took <= mark/2*momentsASecond/fastRate
	if isFast == (c.flags&fast != 0) {
		return
	}
	c.flags ^= fast
	setMark(int(c.fd), other) // it has been set before, or there is no such option
}
