package revocation

import "context"

// Reach fetches as if it were a CRL.
func (c *Client) Reach(ctx context.Context, url string) error {
	_, err := c.list(ctx, url, "", "")
	return err
}
