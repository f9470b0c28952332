// Package uplinktest is a centre for tests: the agents' door with real TLS and
// gRPC, and a map behind it. It accounts for what it was told, and can drop
// answers, sign wrongly and fall silent.
package uplinktest

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// Centre is the door. Make it with New; its fields may be set before Serve.
type Centre struct {
	wire.UnimplementedAgentsServer

	Key     fleet.SiteKey
	Now     func() time.Time        // the centre's clock; default time.Now
	DropAck func(batch uint64) bool // whether a ReportStored is lost
	Mute    func() bool             // whether probes go unanswered

	// Permits answers questions for permits; a nil answer is lost. Default: this
	// centre grants none, as older ones.
	Permits func(*wire.PermitAsk) *wire.PermitAnswer

	ca     *x509.Certificate
	caKey  *ecdsa.PrivateKey
	server tls.Certificate
	orders ed25519.PrivateKey

	turn chan struct{} // cap 1: holds whoever numbers instructions and sends them

	mu         sync.Mutex // guards what follows; after turn
	stream     wire.Agents_LinkServer
	agent      fleet.AgentID
	enrolled   int
	nonce      uint64
	unstored   map[uint64]*wire.Instruction
	outcomes   map[fleet.Occurrence]fleet.Capture
	arrival    []fleet.Occurrence
	duplicates int
	reports    int
	shown      []*wire.Thumbnail
	inventory  uint64 // its latest batch
	devices    [][]byte
	probes     int
	hellos     []*wire.Hello
	loads      []*wire.Load
	results    []*wire.CommandResult
	settled    []*wire.LoginSettled
	changed    chan struct{} // closed and replaced with each change
}

// New makes a centre with its own CA.
func New() (*Centre, error) {
	c := &Centre{Now: time.Now, unstored: make(map[uint64]*wire.Instruction), outcomes: make(map[fleet.Occurrence]fleet.Capture), changed: make(chan struct{}), turn: make(chan struct{}, 1)}
	var err error
	if c.caKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	now := time.Now()
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	if c.ca, err = sign(root, root, &c.caKey.PublicKey, c.caKey); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf, err := sign(&x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: wire.ServerName}, DNSNames: []string{wire.ServerName},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(1000 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, c.ca, &key.PublicKey, c.caKey)
	if err != nil {
		return nil, err
	}
	c.server = tls.Certificate{Certificate: [][]byte{leaf.Raw, c.ca.Raw}, PrivateKey: key}
	if _, c.orders, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, err
	}
	c.Key = fleet.SiteKey{Site: "store-1", CA: sha256.Sum256(c.ca.Raw)}
	_, err = rand.Read(c.Key.Secret[:])
	return c, err
}

func sign(t, parent *x509.Certificate, public *ecdsa.PublicKey, by *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, public, by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// Serve serves on ln until ctx is done; then every connection is cut.
func (c *Centre) Serve(ctx context.Context, ln net.Listener) error {
	pool := x509.NewCertPool()
	pool.AddCert(c.ca)
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{c.server},
		ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool})))
	wire.RegisterAgentsServer(s, c)
	stop := context.AfterFunc(ctx, s.Stop)
	defer stop()
	err := s.Serve(ln)
	s.Stop()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Enrol implements the door.
func (c *Centre) Enrol(_ context.Context, r *wire.EnrolRequest) (*wire.EnrolResponse, error) {
	if r.GetKey() != base64.RawURLEncoding.EncodeToString(c.Key.Secret[:]) {
		return nil, status.Error(codes.PermissionDenied, "the site key is used up: make a new one with `shutterfleet keys create`")
	}
	csr, err := x509.ParseCertificateRequest(r.GetCsr())
	if err != nil || csr.CheckSignature() != nil {
		return nil, status.Error(codes.InvalidArgument, "certificate request")
	}
	c.mu.Lock()
	c.enrolled++
	id := fmt.Sprintf("agent-%d", c.enrolled)
	c.mu.Unlock()
	now := time.Now()
	cert, err := sign(&x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: id}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(1000 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, c.ca, csr.PublicKey.(*ecdsa.PublicKey), c.caKey)
	if err != nil {
		return nil, err
	}
	return &wire.EnrolResponse{Agent: id, Site: string(c.Key.Site), Certificate: cert.Raw, Ca: c.ca.Raw, OrderKey: c.orders.Public().(ed25519.PublicKey)}, nil
}

// Link implements the door.
func (c *Centre) Link(s wire.Agents_LinkServer) error {
	p, _ := peer.FromContext(s.Context())
	t, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(t.State.VerifiedChains) == 0 {
		return status.Error(codes.Unauthenticated, "no certificate")
	}
	id := fleet.AgentID(t.State.PeerCertificates[0].Subject.CommonName)
	m, err := s.Recv()
	if err != nil {
		return err
	}
	h := m.GetHello()
	if h == nil {
		return status.Error(codes.InvalidArgument, "no hello")
	}
	out := &sender{Agents_LinkServer: s}
	if err := out.Send(&wire.FromCentre{Body: &wire.FromCentre_Welcome{Welcome: &wire.Welcome{WireVersion: wire.Version, Site: string(c.Key.Site), Permits: c.Permits != nil}}}); err != nil {
		return err
	}
	c.turn <- struct{}{}
	c.mu.Lock()
	c.stream, c.agent = out, id
	c.nonce = max(c.nonce, h.GetNonce())
	c.hellos = append(c.hellos, h)
	var again []*wire.Instruction // what was not acknowledged goes out under new nonces
	nonces := make([]uint64, 0, len(c.unstored))
	for n := range c.unstored {
		nonces = append(nonces, n)
	}
	slices.Sort(nonces)
	for _, n := range nonces {
		in := c.unstored[n]
		delete(c.unstored, n)
		again = append(again, c.number(in))
	}
	c.note()
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		if c.stream == wire.Agents_LinkServer(out) {
			c.stream = nil
		}
		c.note()
		c.mu.Unlock()
	}()
	for _, in := range again {
		_ = c.send(out, in, c.orders) // a cut stream brings it again
	}
	<-c.turn
	for {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		if err := c.hear(out, m); err != nil {
			return err
		}
	}
}

// sender sends from several goroutines.
type sender struct {
	wire.Agents_LinkServer
	mu sync.Mutex
}

func (s *sender) Send(m *wire.FromCentre) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Agents_LinkServer.Send(m)
}

func (c *Centre) hear(s *sender, m *wire.FromAgent) error {
	c.mu.Lock()
	var answer *wire.FromCentre
	switch b := m.GetBody().(type) {
	case *wire.FromAgent_ClockProbe:
		c.probes++
		if c.Mute == nil || !c.Mute() {
			now := c.Now().UnixNano()
			answer = &wire.FromCentre{Body: &wire.FromCentre_ClockAnswer{ClockAnswer: &wire.ClockAnswer{T1: b.ClockProbe.GetT1(), T2: now, T3: now}}}
		}
	case *wire.FromAgent_OrdersStored:
		delete(c.unstored, b.OrdersStored.GetNonce())
	case *wire.FromAgent_Report:
		captures, err := wire.ParseCaptures(b.Report.GetPacked())
		if err != nil {
			c.mu.Unlock()
			return status.Error(codes.InvalidArgument, err.Error())
		}
		c.reports++
		for _, o := range captures {
			if _, ok := c.outcomes[o.Occurrence]; ok {
				c.duplicates++
				continue
			}
			c.outcomes[o.Occurrence] = o
			c.arrival = append(c.arrival, o.Occurrence)
		}
		if c.DropAck == nil || !c.DropAck(b.Report.GetBatch()) {
			answer = &wire.FromCentre{Body: &wire.FromCentre_ReportStored{ReportStored: &wire.ReportStored{Batch: b.Report.GetBatch()}}}
		}
	case *wire.FromAgent_Load:
		c.loads = append(c.loads, b.Load)
	case *wire.FromAgent_CommandResult:
		c.results = append(c.results, b.CommandResult)
	case *wire.FromAgent_LoginSettled:
		c.settled = append(c.settled, b.LoginSettled)
	case *wire.FromAgent_PermitAsk:
		if a := c.Permits(b.PermitAsk); a != nil {
			a.Permit = b.PermitAsk.GetPermit()
			answer = &wire.FromCentre{Body: &wire.FromCentre_PermitAnswer{PermitAnswer: a}}
		}
	case *wire.FromAgent_Thumbnail:
		c.shown = append(c.shown, b.Thumbnail)
		answer = &wire.FromCentre{Body: &wire.FromCentre_ThumbnailStored{ThumbnailStored: &wire.ThumbnailStored{Batch: b.Thumbnail.GetBatch()}}}
	case *wire.FromAgent_Inventory:
		if b.Inventory.GetBatch() != c.inventory {
			c.devices = nil // a long list comes in parts
		}
		c.inventory = b.Inventory.GetBatch()
		c.devices = append(slices.Clone(c.devices), b.Inventory.GetDevices()...)
		answer = &wire.FromCentre{Body: &wire.FromCentre_InventoryStored{InventoryStored: &wire.InventoryStored{Batch: b.Inventory.GetBatch()}}}
	}
	c.note()
	c.mu.Unlock()
	if answer == nil {
		return nil
	}
	return s.Send(answer)
}

// note tells Await that something changed. Callers hold mu.
func (c *Centre) note() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// Push sends an instruction with the next nonce, now or with the next link,
// and again with each link until it is acknowledged. Agent, nonce, expiry and
// fence are filled in where they are zero.
func (c *Centre) Push(in *wire.Instruction) {
	c.turn <- struct{}{} // what has the lower number goes first
	defer func() { <-c.turn }()
	c.mu.Lock()
	in = c.number(in)
	s := c.stream
	c.mu.Unlock()
	if s != nil {
		_ = c.send(s, in, c.orders) // a cut stream brings it again
	}
}

// number notes an instruction under the next nonce as not acknowledged, and
// returns it as it is to be sent. Callers hold turn and mu.
func (c *Centre) number(in *wire.Instruction) *wire.Instruction {
	c.nonce++
	in = proto.Clone(in).(*wire.Instruction)
	in.Nonce, in.Agent = c.nonce, string(c.agent)
	in.ExpiresMs = c.Now().Add(time.Minute).UnixMilli()
	in.Fence = max(1, in.GetFence())
	c.unstored[in.GetNonce()] = in
	return in
}

// PushRaw sends an instruction exactly as it is, signed by key, or by the
// centre's own when that is nil.
func (c *Centre) PushRaw(in *wire.Instruction, key ed25519.PrivateKey) error {
	c.mu.Lock()
	s := c.stream
	c.mu.Unlock()
	if s == nil {
		return fmt.Errorf("no stream")
	}
	if key == nil {
		key = c.orders
	}
	return c.send(s, in, key)
}

func (c *Centre) send(s wire.Agents_LinkServer, in *wire.Instruction, key ed25519.PrivateKey) error {
	b, err := proto.Marshal(in)
	if err != nil {
		return err
	}
	return s.Send(&wire.FromCentre{Body: &wire.FromCentre_Signed{Signed: &wire.Signed{Instruction: b, Signature: ed25519.Sign(key, append([]byte(wire.SigningContext), b...))}}})
}

// Orders returns an instruction with orders.
func Orders(orders ...fleet.Order) *wire.Instruction {
	return &wire.Instruction{Body: &wire.Instruction_Orders{Orders: &wire.Orders{Packed: pack(orders)}}}
}

// Recall returns an instruction that takes orders back.
func Recall(orders ...fleet.Order) *wire.Instruction {
	return &wire.Instruction{Body: &wire.Instruction_Recall{Recall: &wire.Recall{Packed: pack(orders)}}}
}

// Masked gives the camera of a Cameras instruction a mask, of any shapes.
func Masked(in *wire.Instruction, camera fleet.CameraID, revision uint64, shapes string) *wire.Instruction {
	for _, c := range in.GetCameras().GetPut() {
		if c.GetId() == uint64(camera) {
			c.Mask = &wire.CameraMask{Revision: revision, Shapes: []byte(shapes)}
		}
	}
	return in
}

// Cameras returns an instruction with n cameras that have ids from 1.
func Cameras(n int) *wire.Instruction {
	c := &wire.Cameras{Version: 1, Full: true}
	for id := range n {
		c.Put = append(c.Put, &wire.CameraConfig{Id: uint64(id + 1), Device: fmt.Sprint("device-", id+1), Same: []string{"mac:1"}, Apart: []string{"mac:2"}, Endpoints: []*wire.Endpoint{{Protocol: "snapshot", Url: "http://127.0.1.1/"}}})
	}
	return &wire.Instruction{Body: &wire.Instruction_Cameras{Cameras: c}}
}

// Standing returns an instruction with standing orders: each of the specs, under
// revision 1, for the cameras whose tasks name it. The tasks' place is UTC.
func Standing(version uint64, until fleet.Instant, specs []calendar.Spec, tasks ...wire.Task) *wire.Instruction {
	m := &wire.Standing{Version: version, UntilMs: int64(until), Places: []string{"{}"}}
	for _, s := range specs {
		m.Schedules = append(m.Schedules, &wire.StandingSchedule{Id: uint64(fleet.ScheduleIDOf(s.Name)), Revision: 1, Spec: []byte(s.JSON())})
	}
	for _, t := range tasks {
		t.Revision = 1
		m.Tasks = wire.AppendTask(m.Tasks, t)
	}
	return &wire.Instruction{Body: &wire.Instruction_Standing{Standing: m}}
}

func pack(orders []fleet.Order) (b []byte) {
	for _, o := range orders {
		b = wire.AppendOrder(b, o)
	}
	return b
}

// State is what the centre was told so far.
type State struct {
	Connected  bool
	Agent      fleet.AgentID
	Enrolled   int
	Nonce      uint64
	Unstored   int // instructions without OrdersStored
	Outcomes   map[fleet.Occurrence]fleet.Capture
	Arrival    []fleet.Occurrence // in the order of arrival
	Duplicates int
	Reports    int
	Thumbs     int
	Shown      []*wire.Thumbnail // in the order of arrival
	Devices    [][]byte
	Probes     int
	Hellos     []*wire.Hello
	Loads      []*wire.Load
	Results    []*wire.CommandResult
	Settled    []*wire.LoginSettled
}

// State returns a copy.
func (c *Centre) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state()
}

func (c *Centre) state() State {
	out := make(map[fleet.Occurrence]fleet.Capture, len(c.outcomes))
	for k, v := range c.outcomes {
		out[k] = v
	}
	return State{Connected: c.stream != nil, Agent: c.agent, Enrolled: c.enrolled, Nonce: c.nonce, Unstored: len(c.unstored), Outcomes: out,
		Arrival: slices.Clone(c.arrival), Duplicates: c.duplicates, Reports: c.reports, Thumbs: len(c.shown), Shown: slices.Clone(c.shown), Devices: c.devices, Probes: c.probes, Hellos: slices.Clone(c.hellos), Loads: slices.Clone(c.loads),
		Results: slices.Clone(c.results), Settled: slices.Clone(c.settled)}
}

// Await waits until ok holds, and returns the state then.
func (c *Centre) Await(ctx context.Context, ok func(State) bool) (State, error) {
	for {
		c.mu.Lock()
		s, changed := c.state(), c.changed
		c.mu.Unlock()
		if ok(s) {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}
