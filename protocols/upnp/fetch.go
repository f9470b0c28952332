package upnp

import (
	"context"
	"net/http"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// describe fetches and reads one description, whose location was checked
// against its sender. The guard bounds it and keeps redirects on the host.
func describe(ctx context.Context, g *guard.Guard, location string) (Description, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	res, err := g.Do(ctx, guard.Login{}, guard.Request{Method: http.MethodGet, URL: location, MaxBytes: maxDescriptionBytes})
	if err != nil {
		return Description{}, err
	}
	if res.Status != http.StatusOK {
		return Description{}, fleet.Errorf(fleet.CauseProtocol, "the description's address answers status %d", res.Status)
	}
	return ParseDescription(res.Body)
}
