// Package deps holds modules in go.mod.
package deps

import (
	_ "github.com/go-krb5/krb5/client"
	_ "github.com/go-krb5/krb5/spnego"
	_ "golang.org/x/oauth2"
	_ "golang.org/x/oauth2/clientcredentials"
)
