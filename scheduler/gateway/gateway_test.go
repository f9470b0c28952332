package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/gateway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// door is a gateway over a real scheduler, and what an agent needs to knock.
type door struct {
	t     *testing.T
	addr  string
	sched *scheduler.Scheduler
	pki   *gateway.PKI
}

func open(t *testing.T) *door {
	t.Helper()
	dir := t.TempDir()
	pki, err := gateway.LoadPKI(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := scheduler.New(t.Context(), dir, scheduler.Options{SealKey: pki.Secrets})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served, ran := make(chan error, 1), make(chan error, 1)
	go func() { served <- gateway.New(s, pki, gateway.Options{}).Serve(ctx, ln) }()
	go func() { ran <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for _, err := range []error{<-served, <-ran, s.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	return &door{t, ln.Addr().String(), s, pki}
}

func (d *door) dial(certs ...tls.Certificate) wire.AgentsClient {
	d.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(d.pki.CA)
	conn, err := grpc.NewClient("passthrough:///"+d.addr, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: wire.ServerName, Certificates: certs, MinVersion: tls.VersionTLS13})))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = conn.Close() })
	return wire.NewAgentsClient(conn)
}

// request makes a key and its certificate request.
func request(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, k)
	if err != nil {
		t.Fatal(err)
	}
	return k, csr
}

// key makes a site key and returns its secret as an agent sends it.
func (d *door) key(n scheduler.NewKey) string {
	d.t.Helper()
	_, text, err := d.sched.CreateKey(d.t.Context(), n, d.pki.Digest())
	if err != nil {
		d.t.Fatal(err)
	}
	k, err := fleet.ParseSiteKey(text)
	if err != nil || k.CA != d.pki.Digest() {
		d.t.Fatalf("%v: the key names another CA", err)
	}
	return base64.RawURLEncoding.EncodeToString(k.Secret[:])
}

// enrol returns an agent and its certificate.
func (d *door) enrol(n scheduler.NewKey) (fleet.AgentID, tls.Certificate) {
	d.t.Helper()
	k, csr := request(d.t)
	res, err := d.dial().Enrol(d.t.Context(), &wire.EnrolRequest{Key: d.key(n), Csr: csr})
	if err != nil {
		d.t.Fatal(err)
	}
	return fleet.AgentID(res.GetAgent()), tls.Certificate{Certificate: [][]byte{res.GetCertificate()}, PrivateKey: k}
}

func hello() *wire.FromAgent {
	return &wire.FromAgent{Body: &wire.FromAgent_Hello{Hello: &wire.Hello{WireVersion: wire.Version}}}
}

// link opens a stream, says Hello, and returns what comes first.
func (d *door) link(first *wire.FromAgent, certs ...tls.Certificate) (wire.Agents_LinkClient, *wire.FromCentre, error) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 2*time.Minute)
	d.t.Cleanup(cancel)
	s, err := d.dial(certs...).Link(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := s.Send(first); err != nil {
		d.t.Logf("send: %v", err) // the reason comes with Recv
	}
	m, err := s.Recv()
	return s, m, err
}

func want(t *testing.T, what string, err error, code codes.Code) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("%s: %v, want %v", what, err, code)
	}
}

func TestEnrolRefused(t *testing.T) {
	d := open(t)
	_, csr := request(t)
	line := d.dial() // one for all: guesses count for a minute
	enrol := func(key string, csr []byte) error {
		_, err := line.Enrol(t.Context(), &wire.EnrolRequest{Key: key, Csr: csr})
		return err
	}
	once := d.key(scheduler.NewKey{Site: "lab", Approve: true})
	if err := enrol(once, csr); err != nil {
		t.Fatal(err)
	}
	want(t, "a key that is used up", enrol(once, csr), codes.PermissionDenied)
	want(t, "a guessed key", enrol(base64.RawURLEncoding.EncodeToString(make([]byte, 32)), csr), codes.PermissionDenied)
	want(t, "no base64", enrol("%%%", csr), codes.InvalidArgument)
	want(t, "no request", enrol(d.key(scheduler.NewKey{Site: "lab"}), []byte("junk")), codes.InvalidArgument)
	revoked := d.key(scheduler.NewKey{Site: "gone"})
	keys, err := d.sched.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k.Site == "gone" {
			if err := d.sched.RevokeKey(t.Context(), k.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	want(t, "a revoked key", enrol(revoked, csr), codes.PermissionDenied)
	for range 30 {
		err = enrol(base64.RawURLEncoding.EncodeToString(make([]byte, 32)), csr)
	}
	want(t, "the thirtieth guess", err, codes.ResourceExhausted)
}

func TestLinkRefused(t *testing.T) {
	d := open(t)
	_, _, err := d.link(hello())
	want(t, "no certificate", err, codes.Unauthenticated)

	// A certificate of another CA does not even get through TLS.
	other, err := gateway.LoadPKI(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	k, _ := request(t)
	forged, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: other.CA.SerialNumber, NotAfter: time.Now().Add(time.Hour)}, other.CA, k.Public(), k)
	if err == nil {
		_, _, err = d.link(hello(), tls.Certificate{Certificate: [][]byte{forged}, PrivateKey: k})
	}
	if err == nil {
		t.Error("a forged certificate got in")
	}

	id, cert := d.enrol(scheduler.NewKey{Site: "lab", Approve: false})
	_, _, err = d.link(hello(), cert)
	want(t, "a pending agent", err, codes.PermissionDenied)
	if err := d.sched.ApproveAgent(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	_, first, err := d.link(hello(), cert)
	if err != nil || first.GetWelcome() == nil {
		t.Fatalf("an approved agent: %v, %v", first, err)
	}
	_, _, err = d.link(&wire.FromAgent{Body: &wire.FromAgent_Hello{Hello: &wire.Hello{WireVersion: 99}}}, cert)
	want(t, "another wire version", err, codes.FailedPrecondition)
	_, _, err = d.link(&wire.FromAgent{Body: &wire.FromAgent_Load{Load: &wire.Load{}}}, cert)
	want(t, "no Hello", err, codes.InvalidArgument)

	s, _, err := d.link(hello(), cert)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.sched.RevokeAgent(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = s.Recv() // a live stream ends
	}
	want(t, "a live stream of a revoked agent", err, codes.Aborted)
	_, _, err = d.link(hello(), cert)
	want(t, "a revoked agent", err, codes.PermissionDenied)
}

// TestOrdersAreSigned follows one order to the agent and its outcome back.
func TestOrdersAreSigned(t *testing.T) {
	d := open(t)
	id, cert := d.enrol(scheduler.NewKey{Site: "lab", Approve: true})
	if _, err := d.sched.ApplySchedules(t.Context(), []calendar.Spec{{Name: "hi", Select: "*", Once: "approval"}}, scheduler.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	s, first, err := d.link(hello(), cert)
	if err != nil || first.GetWelcome().GetSite() != "lab" {
		t.Fatalf("%v, %v", first, err)
	}
	cam, err := d.sched.AddCamera(t.Context(), scheduler.NewCamera{Site: "lab", URL: "rtsp://192.0.2.1/a", User: "viewer", Password: "pa ss"})
	if err != nil {
		t.Fatal(err)
	}
	var nonce uint64
	for {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		sig := m.GetSigned()
		if sig == nil {
			continue
		}
		if !ed25519.Verify(d.pki.OrderKey(), append([]byte(wire.SigningContext), sig.GetInstruction()...), sig.GetSignature()) {
			t.Fatal("the signature is wrong")
		}
		var in wire.Instruction
		if err := proto.Unmarshal(sig.GetInstruction(), &in); err != nil {
			t.Fatal(err)
		}
		if in.GetAgent() != string(id) || in.GetNonce() <= nonce || in.GetFence() != d.sched.Fence() || fleet.Instant(in.GetExpiresMs()) <= fleet.At(time.Now()) {
			t.Errorf("instruction for %s, nonce %d after %d, fence %d, expires %d", in.GetAgent(), in.GetNonce(), nonce, in.GetFence(), in.GetExpiresMs())
		}
		nonce = in.GetNonce()
		orders, err := wire.ParseOrders(in.GetOrders().GetPacked())
		if err != nil {
			t.Fatal(err)
		}
		if len(orders) == 0 {
			continue
		}
		if len(orders) != 1 || orders[0].Camera != cam.ID {
			t.Fatalf("%+v", orders)
		}
		c := fleet.Capture{Occurrence: orders[0].Occurrence, Outcome: fleet.Failed, Cause: fleet.CauseRefused, At: fleet.At(time.Now())}
		if err := s.Send(&wire.FromAgent{Body: &wire.FromAgent_Report{Report: &wire.Report{Batch: 7, Packed: wire.AppendCapture(nil, c)}}}); err != nil {
			t.Fatal(err)
		}
		break
	}
	for {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if r := m.GetReportStored(); r != nil {
			if r.GetBatch() != 7 {
				t.Errorf("batch %d", r.GetBatch())
			}
			break
		}
	}
	b, err := d.sched.Books(t.Context())
	if err != nil || b.Total.Failed != 1 || b.Total.InFlight != 0 {
		t.Errorf("acknowledged, and the books say %+v, %v", b.Total, err)
	}
	// Junk ends the stream, with a word.
	if err := s.Send(&wire.FromAgent{Body: &wire.FromAgent_Report{Report: &wire.Report{Packed: []byte{1, 2, 3}}}}); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = s.Recv()
	}
	want(t, "a junk report", err, codes.InvalidArgument)
}
