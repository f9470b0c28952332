package protocols

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

const (
	// portWait is how long one port may take to answer on a LAN: a SYN and its
	// first repetition.
	portWait = 1500 * time.Millisecond
	// wakeWait is how long the kernel gets to ask for a neighbour.
	wakeWait = 300 * time.Millisecond
	// maxPorts bounds the ports of one explanation.
	maxPorts = 16
)

// clocker asks a device for its time without a login; *onvif.Client is one.
type clocker interface {
	Clock(ctx context.Context, t fleet.Target) (skew time.Duration, err error)
}

// streamDescriber asks what a stream is; *rtsp.Grabber is one.
type streamDescriber interface {
	DescribeStream(ctx context.Context, t fleet.Target) (string, error)
}

// route finds the address, and from where this machine would reach it.
func (c *climb) route(ctx context.Context) fleet.Rung {
	names := hosts(c.target)
	if len(names) == 0 {
		c.over = "no address is known"
		return broken("the camera has no address", "give it one with `shutterfleet cameras add`, or wait until discovery finds it")
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", names[0])
	if err != nil || len(addrs) == 0 {
		c.over = "its name leads nowhere"
		return broken(fmt.Sprintf("%s: %v", names[0], err), "use its IP address, or mend the name server that this agent asks")
	}
	c.addr = addrs[0].Unmap()
	// Connecting a datagram socket sends nothing: the kernel looks up the route.
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", netip.AddrPortFrom(c.addr, 9).String())
	if err != nil {
		c.over = "there is no route"
		return broken(err.Error(), "this agent has no route to "+c.addr.String()+": correct the address, or give the agent's machine a route to that network")
	}
	from := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	_ = conn.Close() // nothing was sent
	via, near := interfaceOf(from, c.addr)
	c.near = near
	where := "through a router"
	if near {
		where = "on the same network"
	}
	return ok(fmt.Sprintf("%s from %s on %s, %s", c.addr, from, via, where))
}

// interfaceOf names the interface with the address from, and says whether to is
// on its network.
func interfaceOf(from, to netip.Addr) (name string, near bool) {
	all, err := net.Interfaces()
	if err != nil {
		return "an unknown interface", false
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap() == from.WithZone("") {
				return i.Name, p.Contains(to.WithZone("")) || to.IsLinkLocalUnicast()
			}
		}
	}
	return "an unknown interface", from.IsLoopback()
}

// neighbour looks whether anything has the address on this network.
func (c *climb) neighbour(ctx context.Context) fleet.Rung {
	switch {
	case c.addr.IsLoopback():
		return skip("the address is on this very machine")
	case !c.near:
		return skip("it is behind a router, which hides its hardware address")
	case c.l.opts.Neighbours == nil:
		return skip("this system's neighbour table is not read")
	}
	// The table has who was spoken to lately. A connect makes the kernel ask.
	wake, cancel := context.WithTimeout(ctx, wakeWait)
	if conn, err := (&net.Dialer{}).DialContext(wake, "tcp", netip.AddrPortFrom(c.addr, 80).String()); err == nil {
		_ = conn.Close()
	}
	cancel()
	table, err := c.l.opts.Neighbours()
	switch {
	case err != nil:
		return warn(err.Error(), "the agent may not read its machine's neighbour table; the ports tell as much")
	case table == nil:
		return skip("this system's neighbour table is not read")
	}
	for a, mac := range table {
		if a.Unmap().WithZone("") == c.addr.WithZone("") {
			return ok("hardware address " + mac.String())
		}
	}
	c.over = "nothing has the address"
	return broken("nothing on the network has the address "+c.addr.String(), "check its power, cable and VLAN; after a change of address, its new one is found within minutes, or look into the DHCP server")
}

// ports looks which of the usual ports and those of the endpoints are open. They
// are asked one after the other: cheap cameras have few connections to give.
func (c *climb) ports(ctx context.Context) fleet.Rung {
	named := endpointPorts(c.target.Endpoints)
	list := slices.Clone(named)
	for _, p := range c.l.opts.Ports {
		if !slices.Contains(list, p) && len(list) < maxPorts {
			list = append(list, p)
		}
	}
	c.open = map[uint16]bool{}
	var open, closed, silent []string
	dial := c.mux.guard.Dial(c.addr.String())
	for _, p := range list {
		one, cancel := context.WithTimeout(ctx, portWait)
		conn, err := dial(one, "tcp", netip.AddrPortFrom(c.addr, p).String())
		cancel()
		name := strconv.Itoa(int(p))
		ce, isCamera := errors.AsType[*fleet.CameraError](err)
		switch {
		case err == nil:
			_ = conn.Close()
			c.open[p] = true
			open = append(open, name)
		case isCamera && ce.Cause == fleet.CauseRefused:
			closed = append(closed, name)
		default:
			silent = append(silent, name)
		}
	}
	var said []string
	for _, s := range []struct {
		word  string
		ports []string
	}{{"open", open}, {"closed", closed}, {"silent", silent}} {
		if len(s.ports) > 0 {
			said = append(said, s.word+": "+strings.Join(s.ports, ", "))
		}
	}
	detail := strings.Join(said, "; ")
	shut := slices.DeleteFunc(named, func(p uint16) bool { return c.open[p] })
	switch {
	case len(open) == 0 && len(closed) > 0:
		c.over = "no port is open"
		return broken(detail, "a machine is there, and none of its ports is a camera's: is it the right address? Else switch ONVIF or RTSP on at the camera")
	case len(open) == 0:
		c.over = "no port answers"
		return broken(detail, "check its power, cable and VLAN, and firewalls between the agent and the camera")
	case len(shut) > 0:
		return warn(detail+fmt.Sprintf("; of its known addresses %v do not answer", shut), "switch the service on at the camera, or correct the camera's address")
	}
	return ok(detail)
}

// endpointPorts returns the ports that the endpoints name.
func endpointPorts(list []fleet.Endpoint) (out []uint16) {
	for _, e := range list {
		u, err := url.Parse(e.URL)
		if err != nil {
			continue
		}
		p, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil {
			p = map[string]uint64{"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}[u.Scheme]
		}
		if p != 0 && !slices.Contains(out, uint16(p)) && len(out) < maxPorts {
			out = append(out, uint16(p))
		}
	}
	return out
}

// discovery asks the address itself whether it is an ONVIF device.
func (c *climb) discovery(ctx context.Context) fleet.Rung {
	c.services = services(c.target)
	if c.l.opts.Probe == nil {
		return skip("this agent asks no single address")
	}
	found, err := c.l.opts.Probe(ctx, c.addr)
	if err != nil && len(found) == 0 {
		return warn(err.Error(), "the question could not be asked; the ports tell as much")
	}
	var urls []string
	for _, s := range found {
		if s.Hint {
			continue // it answers, and not as a camera
		}
		for _, e := range s.Endpoints {
			if e.Protocol != fleet.ONVIF || !c.mux.guard.Permits(c.addr.String(), hostOf(e.URL)) {
				continue
			}
			urls = append(urls, e.URL)
			if !slices.Contains(c.services, e) {
				c.services = append(c.services, e)
			}
		}
	}
	if len(urls) == 0 {
		return warn("no answer on UDP port 3702", "switch ONVIF and its discovery on at the camera; without it the camera is reached by its known addresses only")
	}
	return ok("answers, with its service at " + strings.Join(urls, ", "))
}

// clock asks for the time without a login. At an address that is no camera yet
// it looks for the ONVIF service where cameras have it.
func (c *climb) clock(ctx context.Context) fleet.Rung {
	candidates := c.services
	known := len(candidates) > 0
	if !known && len(plain(c.target)) > 0 {
		return skip("the camera is known by its picture's address alone")
	}
	if !known {
		candidates = c.guesses()
	}
	var last error
	for i, e := range candidates {
		one, cancel := share(ctx, len(candidates)-i)
		skew, err := c.time(one, e)
		cancel()
		if err != nil {
			last = err
			continue
		}
		c.services = []fleet.Endpoint{e}
		text := fmt.Sprintf("its clock is %s off", skew.Round(time.Millisecond))
		switch {
		case skew.Abs() > skewRefused:
			return warn(text, "set its time server: our logins are dated by its own clock, those of others are refused")
		case skew.Abs() > skewNoted:
			return warn(text, "set its time server")
		}
		return ok(text)
	}
	switch {
	case last == nil || !known:
		c.services = nil
		return skip("no ONVIF service answers where cameras have it")
	}
	c.services, c.mute = nil, true // a login would wait for it once more
	return fault(last)
}

// share gives a part of the time that is left to each of n.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok || n < 2 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(end)/time.Duration(n))
}

// guesses are the addresses that ONVIF services have when nothing tells: the
// path is that of the Application Programmer's Guide, which nearly all keep.
func (c *climb) guesses() (out []fleet.Endpoint) {
	for _, p := range []uint16{80, 8080, 8000, 443} {
		if !c.open[p] {
			continue
		}
		u := url.URL{Scheme: "http", Host: netip.AddrPortFrom(c.addr, p).String(), Path: "/onvif/device_service"}
		if p == 443 {
			u.Scheme = "https"
		}
		out = append(out, fleet.Endpoint{Protocol: fleet.ONVIF, URL: u.String()})
	}
	return out
}

// time asks one service for the camera's clock.
func (c *climb) time(ctx context.Context, e fleet.Endpoint) (time.Duration, error) {
	t := c.target
	t.Endpoints, t.Credentials = []fleet.Endpoint{e}, nil
	if by, can := c.mux.onvif.(clocker); can {
		return by.Clock(ctx, t)
	}
	// A description asks for the clock first, and tells it also when it comes no
	// further without a login.
	d, err := c.mux.onvif.Describe(ctx, t)
	if err == nil || d.State == fleet.DeviceNeedsCredentials || d.State == fleet.DeviceLocked {
		return d.ClockSkew, nil
	}
	return 0, err
}

// auth describes the device with the credentials that are known.
func (c *climb) auth(ctx context.Context) fleet.Rung {
	if len(c.services) == 0 {
		if c.mute {
			return skip("the ONVIF service did not even tell the time")
		}
		if len(plain(c.target)) > 0 {
			return skip("without ONVIF the login is tried with the picture itself")
		}
		return skip("no ONVIF service is known to log in to")
	}
	leave, err := c.mux.turns.take(ctx, "describe\x00"+c.target.Device)
	if err != nil {
		return fault(err)
	}
	defer leave()
	t := c.target
	t.Endpoints = c.services[:1]
	d, err := c.mux.onvif.Describe(ctx, t)
	switch {
	case err != nil:
		return fault(err)
	case d.State != fleet.DeviceOK && d.State != fleet.DeviceSkewed:
		return fault(fleet.Errorf(causeOf(d.State), "%s", d.Reason))
	}
	c.device = &d
	who := "lets us in without a login"
	if p, proven := c.mux.guard.Budget().Proven(c.target.Device); proven {
		who = fmt.Sprintf("lets user %q in", p.User)
	}
	if maker := strings.TrimSpace(d.Vendor + " " + d.Model + " " + d.Firmware); maker != "" {
		who = maker + " " + who
	}
	return ok(who)
}

// history tells what was learned of the camera by its grabs so far.
func (c *climb) history(context.Context) fleet.Rung {
	var parts []string
	l, known := c.mux.Learned(c.target.Device, c.target.Source)
	if known && l.Endpoint.URL != "" {
		way := string(l.Endpoint.Protocol) + " at " + l.Endpoint.URL
		if l.Transport != "" {
			way += " over " + string(l.Transport)
		}
		parts = append(parts, "pictures come by "+way)
	}
	if known && l.Latency > 0 {
		parts = append(parts, fmt.Sprintf("usually within %v", (l.Latency+2*l.Deviation).Round(10*time.Millisecond)))
	}
	if known && l.Places > 0 {
		parts = append(parts, fmt.Sprintf("it bears %d connections at a time", l.Places))
	}
	if c.l.opts.Load != nil {
		if text := c.l.opts.Load(c.target.Camera); text != "" {
			parts = append(parts, text)
		}
	}
	switch {
	case known && l.Failures > 0:
		return warn(fmt.Sprintf("the last %d grabs failed, the last one: %s", l.Failures, l.Detail)+prefixed("; ", parts), cmp.Or(fixes[l.Cause], fixes[fleet.CauseProtocol]))
	case !known && len(parts) == 0:
		return skip("this agent has taken no picture of it since it started")
	case !known:
		parts = append([]string{"no picture since this agent started"}, parts...)
	}
	return ok(strings.Join(parts, "; "))
}

func prefixed(by string, parts []string) string {
	if len(parts) == 0 {
		return ""
	}
	return by + strings.Join(parts, "; ")
}

// profiles lists what the device offers for this source.
func (c *climb) profiles(context.Context) fleet.Rung {
	if c.device == nil {
		c.ways = cheapest(plain(c.target), c.mux.opts.Codecs)
		return skip(fmt.Sprintf("the device has not described itself; %d addresses for a picture are known", len(c.ways)))
	}
	ways, refused, err := described(c.mux.guard, *c.device, hostOf(c.services[0].URL), c.target)
	if err != nil {
		return fault(err)
	}
	c.ways = cheapest(ways, c.mux.opts.Codecs)
	var list []string
	if s, found := sourceOf(*c.device, c.target.Source); found {
		for _, p := range s.Profiles {
			list = append(list, fmt.Sprintf("%s %s %dx%d", p.Name, p.Codec, p.Width, p.Height))
		}
	}
	detail := strings.Join(list[:min(len(list), 6)], "; ")
	switch {
	case len(refused) > 0 && len(c.ways) == 0:
		return broken(detail+"; its addresses are on another host, "+refused[0], fixes[fleet.CauseGuarded])
	case len(c.ways) == 0:
		return broken("the device names no address for a picture or a stream", "make a media profile with a video encoder at the camera")
	case len(refused) > 0:
		return warn(detail+"; addresses on another host are left out: "+refused[0], fixes[fleet.CauseGuarded])
	}
	return ok(detail)
}

// describe asks what the cheapest stream is.
func (c *climb) describe(ctx context.Context) fleet.Rung {
	by, can := c.mux.grab[fleet.RTSP].(streamDescriber)
	at := slices.IndexFunc(c.ways, func(w way) bool { return w.endpoint.Protocol == fleet.RTSP })
	switch {
	case at < 0 && len(c.ways) > 0:
		return skip("the camera has no stream over RTSP")
	case at < 0:
		return skip("no stream's address is known: give it with `shutterfleet cameras add`, or log in over ONVIF, which tells it")
	case !can:
		return skip("the stream is asked together with its key frame")
	}
	leave, err := c.mux.turns.take(ctx, c.target.Device+"\x00"+c.target.Source)
	if err != nil {
		return fault(err)
	}
	defer leave()
	t := c.target
	t.Endpoints = []fleet.Endpoint{c.ways[at].endpoint}
	text, err := by.DescribeStream(ctx, t)
	if err != nil {
		return fault(err)
	}
	c.stream = c.ways[at]
	return ok(text + ", at " + c.stream.endpoint.URL)
}

// keyFrame takes one picture: the stream's next key frame, or a snapshot from a
// camera without a stream that answers.
func (c *climb) keyFrame(ctx context.Context) fleet.Rung {
	w := c.stream
	if w.endpoint.URL == "" {
		ways := slices.DeleteFunc(slices.Clone(c.ways), func(w way) bool { return w.endpoint.Protocol == fleet.RTSP })
		if len(ways) == 0 {
			return skip("no address answers with a picture")
		}
		w = ways[0]
	}
	by := c.mux.grab[w.endpoint.Protocol]
	if by == nil {
		return skip(string(w.endpoint.Protocol) + " is not spoken here")
	}
	leave, err := c.mux.turns.take(ctx, c.target.Device+"\x00"+c.target.Source)
	if err != nil {
		return fault(err)
	}
	defer leave()
	t := c.target
	t.Endpoints = []fleet.Endpoint{w.endpoint}
	f, err := by.Grab(ctx, t)
	if err != nil {
		return fault(err)
	}
	c.frame = &f
	return ok(fmt.Sprintf("%s, %d kB, over %s", f.Codec, (len(f.Data)+999)/1000, w.endpoint.Protocol))
}

// decode reads the picture.
func (c *climb) decode(ctx context.Context) fleet.Rung {
	switch {
	case c.frame == nil:
		return skip("no picture came")
	case c.l.opts.Read == nil:
		return skip("nothing here decodes")
	}
	r, err := c.l.opts.Read(ctx, *c.frame)
	if err != nil {
		return fault(err)
	}
	return ok(fmt.Sprintf("%dx%d %s", r.Width, r.Height, r.Codec))
}
