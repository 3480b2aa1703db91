package figures

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/need"
)

// runtimeCalls are those of Go's runtime: how many there are is a matter of time. netpoll's epoll_pwait has the
// same name.
const runtimeCalls = "futex,epoll_pwait,nanosleep,clock_nanosleep,sched_yield,getpid,tgkill,rt_sigreturn," +
	"rt_sigprocmask,rt_sigaction,sigaltstack,gettid,clone,clone3,madvise,mmap,munmap,mprotect,prctl,exit," +
	"restart_syscall,set_robust_list,rseq,sched_getaffinity"

// A traced is a node whose system calls strace writes down, in sections.
type traced struct {
	*node
	log      string
	sections []string // their names: each begins with a gauge
}

func startTraced(t *testing.T) *traced {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err == nil {
		err = exec.Command(strace, "-f", "--seccomp-bpf", "-o", os.DevNull, "true").Run()
	}
	if err != nil {
		need.Missing(t, "strace", fmt.Sprintf("install it, on Debian with `apt-get install strace` (%v)", err))
	}
	log := filepath.Join(t.TempDir(), "strace")
	via := []string{strace, "-f", "--seccomp-bpf", "-qq", "-y", "-s", "0", "-o", log, "-e", "trace=!" + runtimeCalls}
	return &traced{node: start(t, via, "JSON"), log: log}
}

// section is what the node does during do.
func (n *traced) section(t *testing.T, name string, do func()) {
	t.Helper()
	n.gauge(t, "count")
	n.sections = append(n.sections, name)
	do()
	n.gauge(t, "count")
	n.sections = append(n.sections, "")
}

// A section's calls by name.
type calls map[string]int

func (c calls) sum() (n int) {
	for _, count := range c {
		n += count
	}
	return n
}

// begun is a line of strace's log that begins a system call: its name, its first argument if that is a file,
// and which file that is.
var begun = regexp.MustCompile(`^\d+ +([a-z0-9_]+)\((?:(\d+)<([^>]*)>)?`)

// calls ends the node, and returns what was called in the sections of each name.
func (n *traced) calls(t *testing.T) map[string][]calls {
	t.Helper()
	kit.OK(t, n.Quit())
	all := make(map[string][]calls)
	var now calls // nil before the first section
	for line := range strings.Lines(string(kit.Must(os.ReadFile(n.log))(t))) {
		m := begun.FindStringSubmatch(line)
		switch {
		case m == nil: // the end of a call, or a signal
		case m[1] == "write" && m[2] == "1": // the node's address, and then its gauges
			if now != nil && len(n.sections) > 0 {
				now = make(calls)
				all[n.sections[0]] = append(all[n.sections[0]], now)
				n.sections = n.sections[1:]
			} else if now == nil {
				now = make(calls)
			}
		case m[2] == "0" || strings.Contains(m[3], "eventfd"): // the next line; the runtime wakes itself
		case now != nil:
			now[m[1]]++
		}
	}
	kit.Equal(t, len(n.sections), 0, "sections that strace did not see")
	return all
}
