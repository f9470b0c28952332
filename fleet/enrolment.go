package fleet

import "net/netip"

// Camera is one schedulable video source as the centre knows it.
type Camera struct {
	ID          CameraID
	Site        SiteID
	Name        string
	State       Enrollment
	Device      string // Device.Key of the device it is a source of
	Source      string // Source.Token
	DeviceState DeviceState
	Reason      string // why DeviceState is not ok, and the fix
	Endpoints   []Endpoint
	Addresses   []netip.Addr
	Via         []Via
	Vendor      string
	Model       string
	Firmware    string
	Serial      string
	Labels      map[string]string
	Version     uint64  // grows with each change; the API's ETag
	Created     Instant // first report
	Enabled     Instant // approval; 0 while it is not approved
}

// LabelSet returns what selectors see: the camera's labels, and over them the
// fields that a label cannot replace: id, site, name, vendor, model, and its
// first address.
func (c *Camera) LabelSet() map[string]string {
	m := make(map[string]string, len(c.Labels)+6)
	for k, v := range c.Labels {
		m[k] = v
	}
	m["id"] = c.ID.String()
	m["site"] = string(c.Site)
	m["name"] = c.Name
	m["vendor"] = c.Vendor
	m["model"] = c.Model
	if len(c.Addresses) > 0 {
		m["address"] = c.Addresses[0].String()
	}
	return m
}

// Site is one place with one or more agents that reach the same cameras.
type Site struct {
	ID      SiteID
	TZ      string   // IANA name; "" = UTC
	Lat     *float64 // degrees north; nil when nobody said
	Lon     *float64 // degrees east
	Burst   float64  `json:",omitempty"` // most captures per second for the whole site; 0 = no bound
	Created Instant
}

// Agent is one enrolled edge box.
type Agent struct {
	ID        AgentID
	Site      SiteID
	Hostname  string
	Version   string
	State     Enrollment // approved, pending or retired (revoked)
	Enrolled  Instant
	Seen      Instant // last message
	Connected bool
	Held      uint64 // orders in its store
	Pending   uint64 // outcomes it has not delivered
	Standing  bool   `json:",omitempty"` // it holds standing orders, and goes on without the centre
	Load      Load   `json:"-"`          // as it last said
	Able      Able   `json:",omitzero"`  // as it said when it connected last
}

// Able is what an agent can do.
type Able struct {
	Codecs    []Codec
	Analyzers []string
	Cores     int
	Tags      []string
	Masks     bool // it hides what a camera's mask says; others are given no masked camera
}

// Load is what an agent's box bears.
type Load struct {
	CPU       float64 // share of all its processors, 0..1
	Pressure  float64 // share of the last 10 s in which something waited for a processor (PSI), 0..1
	RSS       uint64  // bytes
	Available uint64  // memory left, bytes; 0 = not known
	Capturing int     // cameras being spoken to
	Queue     int     // due, and waiting for their turn
	Decoding  int     // frames waiting to be decoded
	Capacity  float64 // captures per second it could do, as measured; 0 = not known yet
}

// Books are the counts behind the promise Accounted:
//
//	Issued = Captured + Failed + Missed + Skipped + InFlight
type Books struct {
	Issued   uint64 `json:"issued"`
	Captured uint64 `json:"captured"`
	Failed   uint64 `json:"failed"`
	Missed   uint64 `json:"missed"`
	Skipped  uint64 `json:"skipped"`
	InFlight uint64 `json:"in_flight"`
	// Duplicates were reported again after an outcome was stored, and changed
	// nothing.
	Duplicates uint64 `json:"duplicates"`
}

// Balanced reports whether the promise holds.
func (b Books) Balanced() bool {
	return b.Issued == b.Captured+b.Failed+b.Missed+b.Skipped+b.InFlight
}
