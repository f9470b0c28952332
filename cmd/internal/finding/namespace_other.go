//go:build !linux

package finding

import (
	"context"
	"errors"
	"os/exec"
)

// Command returns a command like this program's own: this system has no network
// namespaces.
func Command(ctx context.Context, path string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, path, args...) //nolint:gosec // it is this program
}

// Settle says that this system has no network namespaces.
func Settle(context.Context) error {
	return errors.New("network namespaces need Linux")
}
