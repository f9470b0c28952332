// Package onvif asks a camera what it is and where its pictures are.
//
//	GetSystemDateAndTime ─ without login ─► clock offset
//	GetServices, else GetCapabilities ────► where Media 2 and Media 1 are
//	GetDeviceInformation, GetScopes, GetNetworkInterfaces ─► who it is
//	GetProfiles (Media 2, then Media 1) ──► video sources ─┬ GetStreamUri
//	                                                       └ GetSnapshotUri
//
// Logins are negotiated: none, then HTTP Digest when the camera answers 401,
// then WS-UsernameToken, dated by the camera's clock, when it answers a fault,
// and HTTP Basic only over TLS. What worked is remembered per device. Every
// address in an answer is brought back to the host that was asked: cameras behind
// NAT, after a move or fresh from the box name others. A camera that lacks a call
// is described without it. Clock, Reboot and Synchronize are single calls.
package onvif

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

const (
	// describeWait is for callers whose context has no deadline.
	describeWait = 60 * time.Second
	// maxLearned bounds the devices whose login is remembered; beyond it any
	// one is forgotten.
	maxLearned = 16384
)

// Options configure a Client.
type Options struct {
	Now func() time.Time // the agent's corrected clock; default: time.Now
	Log *slog.Logger     // default: discards
}

// Client describes ONVIF devices. It is safe for use by several goroutines.
type Client struct {
	guard *guard.Guard
	opts  Options

	mu      sync.Mutex
	learned map[string]fleet.Credentials // by device: WS-UsernameToken worked with them
}

// New returns a Client that reaches cameras through g.
func New(g *guard.Guard, o Options) *Client {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{guard: g, opts: o, learned: make(map[string]fleet.Credentials)}
}

// remembered returns the credentials that WS-UsernameToken worked with, if the
// login still has them.
func (c *Client) remembered(l guard.Login) (fleet.Credentials, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	with, ok := c.learned[l.Device]
	return with, ok && slices.Contains(l.Credentials, with)
}

func (c *Client) remember(device string, with fleet.Credentials) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.learned[device]; !ok && len(c.learned) >= maxLearned {
		for d := range c.learned {
			delete(c.learned, d)
			break
		}
	}
	c.learned[device] = with
}

func (c *Client) forget(device string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.learned, device)
}
