package fleet

import (
	"log/slog"
	"net/netip"
	"strings"
	"time"
)

// Protocol is a way to reach a camera.
type Protocol string

// The protocols an Endpoint can have.
const (
	ONVIF    Protocol = "onvif"    // device service, http or https
	RTSP     Protocol = "rtsp"     // rtsp or rtsps
	Snapshot Protocol = "snapshot" // HTTP GET answers one JPEG
	MJPEG    Protocol = "mjpeg"    // HTTP GET answers multipart/x-mixed-replace
)

// Endpoint is one address of a camera. The URL never holds credentials.
type Endpoint struct {
	Protocol Protocol `json:"protocol"`
	URL      string   `json:"url"`
}

// Via is how a device was heard.
type Via string

// The ways of discovery.
const (
	ViaWSDiscovery Via = "wsdiscovery"
	ViaMDNS        Via = "mdns"
	ViaUPnP        Via = "upnp"
	ViaSweep       Via = "sweep" // an open port at a listed address
	ViaManual      Via = "manual"
)

// ClaimKind is a kind of evidence about who a device is.
type ClaimKind string

// The kinds of evidence, strongest first.
const (
	ClaimEPR    ClaimKind = "epr"    // WS-Discovery endpoint reference, usually urn:uuid:…
	ClaimUDN    ClaimKind = "udn"    // UPnP unique device name, usually uuid:…
	ClaimMAC    ClaimKind = "mac"    // lower case, colons
	ClaimSerial ClaimKind = "serial" // serial number; only means something beside a model
	ClaimHost   ClaimKind = "host"   // mDNS host name
	ClaimURL    ClaimKind = "url"    // typed by hand

	// Weaker than a serial with its model, since firmware may ship one key to
	// many devices: SHA-256 of the TLS key's SubjectPublicKeyInfo, 64 hex digits.
	ClaimTLSKey ClaimKind = "tls"
	// Weakest of all, never enough by itself: how many bits of the pHashes of two
	// devices' frames differ. The hashes themselves stay with the agent.
	ClaimScene ClaimKind = "scene"
)

// Claim is one piece of evidence about who a device is.
type Claim struct {
	Kind  ClaimKind `json:"kind"`
	Value string    `json:"value"`
}

// BareUUID returns the UUID of an endpoint reference or a unique device name,
// in lower case, so that the one can be found in the other; other names keep
// their form.
func BareUUID(name string) string {
	low := strings.ToLower(name)
	return strings.TrimPrefix(strings.TrimPrefix(low, "urn:"), "uuid:")
}

// Sighting is one discovery answer, with its evidence. Everything in it comes
// from the LAN and is as true as whoever sent it.
type Sighting struct {
	Via       Via
	Source    netip.Addr // who sent the answer
	Interface string     // where it was heard
	At        time.Time
	Gone      bool // a Bye, goodbye or byebye
	Hint      bool // says who the device is, not that it is a camera: hints alone make no device
	Claims    []Claim
	Endpoints []Endpoint // hosts are Source or were refused
	Name      string
	Vendor    string
	Model     string
}

// Evidence is one reason why two records are one device, or are not. Kind is a
// ClaimKind, or one of "answer" (one datagram), "key" (the centre's name for
// it), "decision" (an operator's), "port" and "address" (where it answers);
// reasons against are "addresses", "hardware" and "renamed".
type Evidence struct {
	Kind   string `json:"kind"`
	Value  string `json:"value,omitempty"`
	Weight int    `json:"weight"`         // 100 together is one device; negative: against
	Junk   bool   `json:"junk,omitempty"` // several live devices have the value: it counts for nothing
}

// Conflict says that evidence about a device contradicts: it is not merged
// with its rivals until an operator decides.
type Conflict struct {
	Rivals []Rival `json:"rivals"` // by key
}

// Rival is the other side of a Conflict.
type Rival struct {
	Key       string       `json:"key"`
	Addresses []netip.Addr `json:"addresses"`
	Claims    []Claim      `json:"claims"`
	Vendor    string       `json:"vendor"`
	Model     string       `json:"model"`
	LastSeen  time.Time    `json:"last_seen"`
	Evidence  []Evidence   `json:"evidence"` // for and against its being the same device
}

// Device is a network endpoint with one or more cameras, as an agent knows it:
// many sightings merged, and described as far as it let us in.
type Device struct {
	Key       string       `json:"key"` // the strongest claim; the same device gives the same key again
	Addresses []netip.Addr `json:"addresses"`
	Claims    []Claim      `json:"claims"`
	Via       []Via        `json:"via"` // sorted, each once
	Endpoints []Endpoint   `json:"endpoints"`
	Name      string       `json:"name"`
	Vendor    string       `json:"vendor"`
	Model     string       `json:"model"`
	Firmware  string       `json:"firmware"`
	Serial    string       `json:"serial"`
	Sources   []Source     `json:"sources"` // at least one: an undescribed device has one source with its endpoints
	State     DeviceState  `json:"state"`
	Reason    string       `json:"reason"` // why it is not ok, and the fix
	ClockSkew time.Duration
	LastSeen  time.Time
	Evidence  []Evidence `json:"evidence,omitempty"` // why its sightings are one device, and what of them is junk
	Conflict  *Conflict  `json:"conflict,omitempty"` // of a device in the state conflict
}

// Source is one schedulable video source of a device. An NVR has many.
type Source struct {
	Token    string    `json:"token"` // ONVIF video source token; "" for a device with one nameless source
	Name     string    `json:"name"`
	Profiles []Profile `json:"profiles"`
}

// Profile is one stream or snapshot setting of a source.
type Profile struct {
	Token     string     `json:"token"`
	Name      string     `json:"name"`
	Codec     Codec      `json:"codec"`
	Width     int        `json:"width"`
	Height    int        `json:"height"`
	Endpoints []Endpoint `json:"endpoints"` // stream and snapshot addresses
}

// DeviceState says how far an agent gets with a device.
type DeviceState string

// The states of a device.
const (
	DeviceOK               DeviceState = "ok"
	DeviceNeedsCredentials DeviceState = "needs-credentials"
	DeviceLocked           DeviceState = "locked"
	DeviceSkewed           DeviceState = "skewed"
	DeviceUnreachable      DeviceState = "unreachable"
	DeviceConflict         DeviceState = "conflict"
)

// Enrollment is how a camera (or an agent) becomes trusted.
type Enrollment string

// The states of enrolment. Only an approved camera is photographed.
const (
	Candidate   Enrollment = "candidate"
	Pending     Enrollment = "pending"
	Approved    Enrollment = "approved"
	Ignored     Enrollment = "ignored"
	Quarantined Enrollment = "quarantined"
	Retired     Enrollment = "retired"
)

// Secret is a password. It prints as *** everywhere; Reveal is the only way out.
type Secret string

// Reveal returns the secret itself, for the one place that puts it on a wire.
func (s Secret) Reveal() string { return string(s) }

// String returns ***, or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString keeps the secret out of %#v.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// LogValue keeps the secret out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps the secret out of JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Credentials log in to cameras. Version changes with every change of either,
// and login budgets are counted per version.
type Credentials struct {
	User     string
	Password Secret
	Version  uint64
}

// Empty reports whether there is nothing to log in with.
func (c Credentials) Empty() bool { return c.User == "" && c.Password == "" }

// Target is all that a Grabber or a Describer needs to know of one camera.
type Target struct {
	Camera      CameraID // 0 while it is not enrolled
	Device      string   // Device.Key: login budgets are counted per device
	Source      string   // Source.Token
	Endpoints   []Endpoint
	Credentials []Credentials // tried in order, within the login budget

	// What an operator decided about Device, by keys of devices or texts of
	// claims, "mac:ac:cc:8e:00:00:01": those of Same are it, those of Apart are not.
	Same, Apart []string

	// Mask is what must not be seen of the camera, for who reads its frames.
	Mask CameraMask
}
