package uplink

import (
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

func cameras(c *wire.Cameras) Cameras {
	out := Cameras{Version: c.GetVersion(), Full: c.GetFull(), Site: logins(c.GetSiteCredentials())}
	for _, p := range c.GetPut() {
		t := fleet.Target{Camera: fleet.CameraID(p.GetId()), Device: p.GetDevice(), Source: p.GetSource(), Credentials: logins(p.GetCredentials()), Same: p.GetSame(), Apart: p.GetApart(), Mask: mask(p.GetMask())}
		for _, e := range p.GetEndpoints() {
			t.Endpoints = append(t.Endpoints, fleet.Endpoint{Protocol: fleet.Protocol(e.GetProtocol()), URL: e.GetUrl()})
		}
		out.Put = append(out.Put, t)
	}
	for _, id := range c.GetRemove() {
		out.Remove = append(out.Remove, fleet.CameraID(id))
	}
	return out
}

func logins(cs []*wire.Credential) []fleet.Credentials {
	out := make([]fleet.Credentials, len(cs))
	for i, c := range cs {
		out[i] = fleet.Credentials{User: c.GetUser(), Password: fleet.Secret(c.GetPassword()), Version: c.GetVersion()}
	}
	return out
}
