package rtsp

import "net"

// ListenUDPBy has g open its UDP sockets by f.
func (g *Grabber) ListenUDPBy(f func(string, *net.UDPAddr) (*net.UDPConn, error)) { g.listenUDP = f }
