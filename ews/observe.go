package ews

import (
	"cmp"
	"encoding/xml"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/galsyncd/galsyncd/internal/httpfault"
)

// Observation is what an answer looked like, apart from what it says.
type Observation struct {
	// Op is the operation, for example "ResolveNames".
	Op string
	// Status is the HTTP status and Header the header of the answer; 0 and nil when there was none.
	Status int
	Header http.Header
	// Code is the ResponseCode, as of Error.Code; empty when the answer had none.
	Code string
	// BackOff is how long the server asked to be left alone.
	BackOff time.Duration
	// Bytes are those of the answer after decompression, as far as it was read.
	Bytes int64
	// Duration is from the request to the last byte.
	Duration time.Duration
	// Server is the version that the server says it has; zero when it did not.
	Server ServerVersion
}

// ServerVersion is the SOAP header ServerVersionInfo (MS-OXWSCDATA section 2.2.3.12).
type ServerVersion struct {
	// Numbers are MajorVersion, MinorVersion, MajorBuildNumber and MinorBuildNumber.
	Numbers [4]int
	// Schema is the version of the schema, for example V2017_07_11.
	Schema string
}

// read takes the attributes of the header element; what is none of it, or is not a number, is left out.
func (v *ServerVersion) read(e xml.StartElement) {
	if e.Name != (xml.Name{Space: nsTypes, Local: "ServerVersionInfo"}) {
		return
	}
	for i, name := range []string{"MajorVersion", "MinorVersion", "MajorBuildNumber", "MinorBuildNumber"} {
		text, _ := attribute(e, name)
		if n, err := strconv.ParseUint(text, 10, 31); err == nil {
			v.Numbers[i] = int(n)
		}
	}
	schema, _ := attribute(e, "Version")
	v.Schema = httpfault.Clean(schema, 40)
}

// observe tells the observer about an exchange that has ended.
func (x *exchange) observe(a *answer, err error, took time.Duration) {
	if x.client.Observe == nil {
		return
	}
	o := Observation{Op: x.op, Status: x.status, Header: x.header, Bytes: x.size, Duration: took}
	if a != nil {
		o.Code, o.Server = a.code, a.server
	}
	if e, ok := errors.AsType[*Error](err); ok {
		o.Code, o.BackOff = cmp.Or(o.Code, e.Code), e.BackOff
	}
	x.client.Observe(o)
}
