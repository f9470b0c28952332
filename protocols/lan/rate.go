package lan

import "net/netip"

// rate caps datagrams and bytes per source and in all, counted anew each second.
type rate struct {
	total  load
	source map[netip.Addr]load
}

type load struct{ packets, bytes int }

func (l load) over(packets, bytes int) bool { return l.packets > packets || l.bytes > bytes }

func newRate() *rate { return &rate{source: map[netip.Addr]load{}} }

func (r *rate) reset() {
	r.total = load{}
	clear(r.source)
}

// allow counts one datagram of n bytes from a. On loopback one address speaks
// for all programs of this host, so only the total counts.
func (r *rate) allow(a netip.Addr, n int, loopback bool) bool {
	own := r.source[a]
	own.packets++
	own.bytes += n
	if !loopback && own.over(sourcePackets, sourceBytes) {
		return false // and costs the others nothing
	}
	r.total.packets++
	r.total.bytes += n
	if r.total.over(totalPackets, totalBytes) {
		return false
	}
	r.source[a] = own
	return true
}
