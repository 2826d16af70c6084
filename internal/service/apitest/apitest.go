// Package apitest holds values and Go types to the schemas of an OpenAPI 3.1 document. It knows the few keywords of JSON
// Schema that our document uses and refuses all others, so that no rule is silently ignored. For tests.
package apitest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Document is an OpenAPI document.
type Document struct {
	Paths      map[string]map[string]Operation `json:"paths"`
	Components struct {
		Schemas map[string]Schema `json:"schemas"`
	} `json:"components"`
	Problems map[string]struct {
		Status int    `json:"status"`
		Title  string `json:"title"`
	} `json:"x-problems"`
}

// Operation is one request.
type Operation struct {
	OperationID string            `json:"operationId"`
	Access      map[string]string `json:"x-access"`
	Parameters  []struct {
		Name     string `json:"name"`
		In       string `json:"in"`
		Required bool   `json:"required"`
	} `json:"parameters"`
	Responses map[string]struct {
		Content map[string]struct {
			Schema Schema `json:"schema"`
		} `json:"content"`
	} `json:"responses"`
}

// Schema is a JSON Schema.
type Schema map[string]any

// Parse reads a document.
func Parse(data []byte) (*Document, error) {
	d := new(Document)
	return d, json.Unmarshal(data, d)
}

// Resolve follows a reference to a schema.
func (d *Document) Resolve(s Schema) Schema {
	ref, ok := s["$ref"].(string)
	if !ok {
		return s
	}
	return d.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")]
}

// Conforms returns what is wrong with a JSON text; nothing when it conforms to the schema.
func (d *Document) Conforms(s Schema, text []byte) []string {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return []string{err.Error()}
	}
	return d.value("$", s, v)
}

func (d *Document) value(at string, s Schema, v any) (faults []string) {
	s = d.Resolve(s)
	if s == nil {
		return []string{at + ": no schema"}
	}
	for _, keyword := range slices.Sorted(maps.Keys(s)) {
		if fault := d.keyword(at, keyword, s, v); len(fault) > 0 {
			faults = append(faults, fault...)
		}
	}
	return faults
}

func (d *Document) keyword(at, keyword string, s Schema, v any) []string {
	fail := func(format string, args ...any) []string { return []string{at + ": " + fmt.Sprintf(format, args...)} }
	text, isText := v.(string)
	number, isNumber := v.(float64)
	object, _ := v.(map[string]any)
	switch argument := s[keyword]; keyword {
	case "description", "properties", "default":
	case "type":
		if !ofType(argument.(string), v) {
			return fail("%T is not of type %s", v, argument)
		}
	case "enum":
		if !slices.Contains(argument.([]any), v) {
			return fail("%v is not one of %v", v, argument)
		}
	case "pattern":
		if isText && !regexp.MustCompile(argument.(string)).MatchString(text) {
			return fail("%q does not match %s", text, argument)
		}
	case "format":
		if _, err := time.Parse(time.RFC3339, text); argument != "date-time" || err != nil {
			return fail("%q is not a %s", text, argument)
		}
	case "contentEncoding":
		if _, err := base64.StdEncoding.DecodeString(text); argument != "base64" || err != nil {
			return fail("not %s", argument)
		}
	case "minimum":
		if isNumber && number < argument.(float64) {
			return fail("%v is too small", number)
		}
	case "maximum":
		if isNumber && number > argument.(float64) {
			return fail("%v is too large", number)
		}
	case "required":
		for _, name := range argument.([]any) {
			if _, ok := object[name.(string)]; !ok {
				return fail("member %s is missing", name)
			}
		}
	case "additionalProperties":
		return d.members(at, s, object)
	case "items":
		var faults []string
		list, _ := v.([]any)
		for i, item := range list {
			faults = append(faults, d.value(fmt.Sprintf("%s[%d]", at, i), argument.(map[string]any), item)...)
		}
		return faults
	case "oneOf":
		matches := 0
		for _, option := range argument.([]any) {
			if len(d.value(at, option.(map[string]any), v)) == 0 {
				matches++
			}
		}
		if matches != 1 {
			return fail("matches %d schemas of oneOf", matches)
		}
	default:
		return fail("the checker does not know the keyword %s", keyword)
	}
	return nil
}

// members checks the members of an object against properties and additionalProperties.
func (d *Document) members(at string, s Schema, object map[string]any) (faults []string) {
	properties, _ := s["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if schema, ok := properties[name].(map[string]any); ok {
			faults = append(faults, d.value(at+"."+name, schema, object[name])...)
		} else if schema, ok := s["additionalProperties"].(map[string]any); ok {
			faults = append(faults, d.value(at+"."+name, schema, object[name])...)
		} else {
			faults = append(faults, at+": unknown member "+name)
		}
	}
	return faults
}

func ofType(name string, v any) bool {
	switch v := v.(type) {
	case string:
		return name == "string"
	case bool:
		return name == "boolean"
	case float64:
		return name == "number" || name == "integer" && v == math.Trunc(v)
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	}
	return false
}

var (
	timeType = reflect.TypeFor[time.Time]()
	byteType = reflect.TypeFor[byte]()
)

// Matches returns where a Go type and a schema differ: names of members, which of them may be absent, kinds of values.
func (d *Document) Matches(s Schema, t reflect.Type) []string { return d.match("$", s, t, nil) }

// match compares t with s; inside are the structs that it is a part of, so that a type within itself is compared once.
func (d *Document) match(at string, s Schema, t reflect.Type, inside []reflect.Type) []string {
	s = d.Resolve(s)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	want, format := kindOf(t)
	if s == nil || s["type"] != want || format == "date-time" && s["format"] != format || format == "base64" && s["contentEncoding"] != format {
		return []string{fmt.Sprintf("%s: %v is not %v", at, t, s)}
	}
	switch {
	case want == "array":
		items, _ := s["items"].(map[string]any)
		return d.match(at+"[]", items, t.Elem(), inside)
	case t.Kind() == reflect.Map:
		items, _ := s["additionalProperties"].(map[string]any)
		return d.match(at+"{}", items, t.Elem(), inside)
	case want == "object" && !slices.Contains(inside, t):
		return d.matchStruct(at, s, t, append(slices.Clone(inside), t))
	}
	return nil
}

// kindOf returns the JSON type that encoding/json makes of t, and its format.
func kindOf(t reflect.Type) (string, string) {
	switch {
	case t == timeType:
		return "string", "date-time"
	case t.Kind() == reflect.Slice && t.Elem() == byteType && t.Name() == "":
		return "string", "base64"
	case t.Kind() == reflect.Slice && t.Elem() == byteType: // with MarshalText
		return "string", ""
	}
	switch t.Kind() {
	case reflect.String:
		return "string", ""
	case reflect.Bool:
		return "boolean", ""
	case reflect.Int:
		return "integer", ""
	case reflect.Float64:
		return "number", ""
	case reflect.Slice:
		return "array", ""
	case reflect.Struct, reflect.Map:
		return "object", ""
	}
	return t.Kind().String(), ""
}

func (d *Document) matchStruct(at string, s Schema, t reflect.Type, inside []reflect.Type) (faults []string) {
	properties, _ := s["properties"].(map[string]any)
	required, _ := s["required"].([]any)
	seen := map[string]bool{}
	for _, field := range reflect.VisibleFields(t) {
		tag := field.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		if field.Anonymous && tag == "" || tag == "-" || !field.IsExported() {
			continue
		}
		seen[name] = true
		schema, ok := properties[name].(map[string]any)
		if !ok {
			faults = append(faults, at+": member "+name+" is not in the schema")
			continue
		}
		if optional := strings.Contains(options, "omit"); optional == slices.Contains(required, any(name)) {
			faults = append(faults, fmt.Sprintf("%s: member %s: optional in Go is %v", at, name, optional))
		}
		faults = append(faults, d.match(at+"."+name, schema, field.Type, inside)...)
	}
	for name := range properties {
		if !seen[name] {
			faults = append(faults, at+": member "+name+" is not in the Go type")
		}
	}
	return faults
}
