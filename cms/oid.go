package cms

import "encoding/asn1"

var (
	oidData              = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}         // RFC 5652 section 4
	oidSignedData        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}         // RFC 5652 section 5.1
	oidEnvelopedData     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 3}         // RFC 5652 section 6.1
	oidAuthEnvelopedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 23} // RFC 5083 section 2
	oidRSA               = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}         // RFC 3370 section 4.2.1
	oidOAEP              = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 7}         // RFC 4055 section 4
	oidMGF1              = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}         // RFC 4055 section 2.1
	oidPSpecified        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 9}         // RFC 4055 section 4
	oidECPublicKey       = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}             // RFC 5480 section 2.1.1
	oidX25519            = asn1.ObjectIdentifier{1, 3, 101, 110}                     // RFC 8410 section 3
	oidCapabilities      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 15}        // RFC 8551 section 2.5.2, RFC 4262
	oidKeyPreference     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 11} // RFC 8551 section 2.5.3
	oidRSAPSS            = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}        // RFC 4056
	oidEd25519           = asn1.ObjectIdentifier{1, 3, 101, 112}                     // RFC 8419
	oidContentType       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}         // RFC 5652 section 11.1
	oidMessageDigest     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}         // RFC 5652 section 11.2
	oidSigningTime       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}         // RFC 5652 section 11.3
	oidMSKeyPreference   = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 16, 4}       // Microsoft's older form of it
)
