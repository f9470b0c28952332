package finding

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// Command returns a command that runs in a network of its own, in which there
// is nothing but a loopback interface: what peers send by multicast cannot leave
// it. Its arguments are this program's. It needs unprivileged user namespaces,
// or root.
func Command(ctx context.Context, path string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, path, args...) //nolint:gosec // it is this program
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	return c
}

// Settle brings up the loopback interface of a namespace that is new, so that
// multicast goes over it.
func Settle(ctx context.Context) error {
	for _, args := range []string{"link set lo up multicast on", "route add 224.0.0.0/4 dev lo src 127.0.0.1", "route add default dev lo src 127.0.0.1"} {
		if out, err := exec.CommandContext(ctx, "ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s (Debian's package iproute2)", args, err, out)
		}
	}
	return nil
}
