package rtsp

import "net"

// ListenUDPBy has g open its UDP sockets by f.
func (g *Grabber) ListenUDPBy(f func(string, *net.UDPAddr) (*net.UDPConn, error)) { g.listenUDP = f }

// OnHeard has f called with each stream's first packet.
func (g *Grabber) OnHeard(f func()) { g.heard = f }
