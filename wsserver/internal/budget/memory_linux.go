package budget

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// machineMemory is how much memory the process may have: the machine's, or its control group's if that has less. Zero means unknown.
func machineMemory() int64 {
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) != nil {
		return 0
	}
	memory := int64(info.Totalram) * int64(info.Unit)
	for _, file := range []string{
		"/sys/fs/cgroup/memory.max",                   // version 2, as a container sees its own group
		"/sys/fs/cgroup/memory/memory.limit_in_bytes", // version 1
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
			memory = min(memory, n)
		}
	}
	return memory
}
