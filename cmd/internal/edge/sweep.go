package edge

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"path/filepath"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
	"github.com/shutterfleet/shutterfleet/protocols/sweep"
	"github.com/shutterfleet/shutterfleet/protocols/wsdiscovery"
)

// newSweep returns the finder for listed subnets. Its position lies beside the
// store: it is worth a round, not a transaction.
func newSweep(o Options, g *guard.Guard) (*sweep.Finder, error) {
	so := sweep.Options{
		Subnets: o.Subnets, Rate: o.SweepRate, Memory: sweep.File(filepath.Join(o.DataDir, "sweep.json")), Log: o.Log.With("part", "sweep"),
		Probe: func(ctx context.Context, addr netip.Addr) ([]fleet.Sighting, error) {
			return wsdiscovery.Probe(ctx, addr, wsdiscovery.ProbeOptions{})
		},
	}
	if o.SweepPorts {
		so.Ports = sweep.UsualPorts()
		so.Confirm = func(ctx context.Context, u string) error { return speaksONVIF(ctx, g, u) }
	}
	return sweep.New(so)
}

// dateQuestion is the one ONVIF call that every device answers without a login
// (ONVIF Core, section 5.9.4: access class PRE_AUTH).
const dateQuestion = `<?xml version="1.0" encoding="UTF-8"?><e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body>` +
	`<GetSystemDateAndTime xmlns="http://www.onvif.org/ver10/device/wsdl"/></e:Body></e:Envelope>`

// maxDateBytes bounds the answer: a kilobyte or two.
const maxDateBytes = 64 << 10

// speaksONVIF asks a device service for its time. Web pages answer such a
// request with a page, a refusal or a login, which tells nothing.
func speaksONVIF(ctx context.Context, g *guard.Guard, u string) error {
	res, err := g.Do(ctx, guard.Login{}, guard.Request{
		Method: http.MethodPost, URL: u, Body: []byte(dateQuestion), MaxBytes: maxDateBytes,
		Header: http.Header{"Content-Type": {`application/soap+xml; charset=utf-8; action="http://www.onvif.org/ver10/device/wsdl/GetSystemDateAndTime"`}},
	})
	switch {
	case err != nil:
		return err
	case !bytes.Contains(res.Body, []byte("GetSystemDateAndTimeResponse")):
		return errors.New("no ONVIF device service answers")
	}
	return nil
}
