package wbxml

// Tags of the code pages that address books and policies need (MS-ASWBXML section 2.1.2.1), and of those that documents
// about them touch. A constant is named after page and element; the element that a page is named after has the page's name.
const (
	// Code page 0, AirSync.
	AirSyncSync            Tag = 0x00<<8 | 0x05
	AirSyncAdd             Tag = 0x00<<8 | 0x07
	AirSyncSyncKey         Tag = 0x00<<8 | 0x0B
	AirSyncServerId        Tag = 0x00<<8 | 0x0D
	AirSyncStatus          Tag = 0x00<<8 | 0x0E
	AirSyncCollection      Tag = 0x00<<8 | 0x0F
	AirSyncClass           Tag = 0x00<<8 | 0x10
	AirSyncCollectionId    Tag = 0x00<<8 | 0x12
	AirSyncCommands        Tag = 0x00<<8 | 0x16
	AirSyncCollections     Tag = 0x00<<8 | 0x1C
	AirSyncApplicationData Tag = 0x00<<8 | 0x1D

	// Code page 1, Contacts.
	ContactsFileAs    Tag = 0x01<<8 | 0x1E
	ContactsFirstName Tag = 0x01<<8 | 0x1F
	ContactsLastName  Tag = 0x01<<8 | 0x29

	// Code page 7, FolderHierarchy.
	FolderHierarchyDisplayName Tag = 0x07<<8 | 0x07
	FolderHierarchyServerId    Tag = 0x07<<8 | 0x08
	FolderHierarchyParentId    Tag = 0x07<<8 | 0x09
	FolderHierarchyType        Tag = 0x07<<8 | 0x0A
	FolderHierarchyStatus      Tag = 0x07<<8 | 0x0C
	FolderHierarchyChanges     Tag = 0x07<<8 | 0x0E
	FolderHierarchyAdd         Tag = 0x07<<8 | 0x0F
	FolderHierarchyDelete      Tag = 0x07<<8 | 0x10
	FolderHierarchyUpdate      Tag = 0x07<<8 | 0x11
	FolderHierarchySyncKey     Tag = 0x07<<8 | 0x12
	FolderHierarchyFolderSync  Tag = 0x07<<8 | 0x16
	FolderHierarchyCount       Tag = 0x07<<8 | 0x17

	// Code page 10, ResolveRecipients.
	ResolveRecipients                       Tag = 0x0A<<8 | 0x05
	ResolveRecipientsResponse               Tag = 0x0A<<8 | 0x06
	ResolveRecipientsStatus                 Tag = 0x0A<<8 | 0x07
	ResolveRecipientsType                   Tag = 0x0A<<8 | 0x08
	ResolveRecipientsRecipient              Tag = 0x0A<<8 | 0x09
	ResolveRecipientsDisplayName            Tag = 0x0A<<8 | 0x0A
	ResolveRecipientsEmailAddress           Tag = 0x0A<<8 | 0x0B
	ResolveRecipientsCertificates           Tag = 0x0A<<8 | 0x0C
	ResolveRecipientsCertificate            Tag = 0x0A<<8 | 0x0D
	ResolveRecipientsMiniCertificate        Tag = 0x0A<<8 | 0x0E
	ResolveRecipientsOptions                Tag = 0x0A<<8 | 0x0F
	ResolveRecipientsTo                     Tag = 0x0A<<8 | 0x10
	ResolveRecipientsCertificateRetrieval   Tag = 0x0A<<8 | 0x11
	ResolveRecipientsRecipientCount         Tag = 0x0A<<8 | 0x12
	ResolveRecipientsMaxCertificates        Tag = 0x0A<<8 | 0x13
	ResolveRecipientsMaxAmbiguousRecipients Tag = 0x0A<<8 | 0x14
	ResolveRecipientsCertificateCount       Tag = 0x0A<<8 | 0x15
	ResolveRecipientsAvailability           Tag = 0x0A<<8 | 0x16
	ResolveRecipientsStartTime              Tag = 0x0A<<8 | 0x17
	ResolveRecipientsEndTime                Tag = 0x0A<<8 | 0x18
	ResolveRecipientsMergedFreeBusy         Tag = 0x0A<<8 | 0x19
	ResolveRecipientsPicture                Tag = 0x0A<<8 | 0x1A
	ResolveRecipientsMaxSize                Tag = 0x0A<<8 | 0x1B
	ResolveRecipientsData                   Tag = 0x0A<<8 | 0x1C
	ResolveRecipientsMaxPictures            Tag = 0x0A<<8 | 0x1D

	// Code page 11, ValidateCert.
	ValidateCert                 Tag = 0x0B<<8 | 0x05
	ValidateCertCertificates     Tag = 0x0B<<8 | 0x06
	ValidateCertCertificate      Tag = 0x0B<<8 | 0x07
	ValidateCertCertificateChain Tag = 0x0B<<8 | 0x08
	ValidateCertCheckCRL         Tag = 0x0B<<8 | 0x09
	ValidateCertStatus           Tag = 0x0B<<8 | 0x0A

	// Code page 14, Provision.
	Provision                                         Tag = 0x0E<<8 | 0x05
	ProvisionPolicies                                 Tag = 0x0E<<8 | 0x06
	ProvisionPolicy                                   Tag = 0x0E<<8 | 0x07
	ProvisionPolicyType                               Tag = 0x0E<<8 | 0x08
	ProvisionPolicyKey                                Tag = 0x0E<<8 | 0x09
	ProvisionData                                     Tag = 0x0E<<8 | 0x0A
	ProvisionStatus                                   Tag = 0x0E<<8 | 0x0B
	ProvisionRemoteWipe                               Tag = 0x0E<<8 | 0x0C
	ProvisionEASProvisionDoc                          Tag = 0x0E<<8 | 0x0D
	ProvisionDevicePasswordEnabled                    Tag = 0x0E<<8 | 0x0E
	ProvisionAlphanumericDevicePasswordRequired       Tag = 0x0E<<8 | 0x0F
	ProvisionRequireStorageCardEncryption             Tag = 0x0E<<8 | 0x10
	ProvisionPasswordRecoveryEnabled                  Tag = 0x0E<<8 | 0x11
	ProvisionAttachmentsEnabled                       Tag = 0x0E<<8 | 0x13
	ProvisionMinDevicePasswordLength                  Tag = 0x0E<<8 | 0x14
	ProvisionMaxInactivityTimeDeviceLock              Tag = 0x0E<<8 | 0x15
	ProvisionMaxDevicePasswordFailedAttempts          Tag = 0x0E<<8 | 0x16
	ProvisionMaxAttachmentSize                        Tag = 0x0E<<8 | 0x17
	ProvisionAllowSimpleDevicePassword                Tag = 0x0E<<8 | 0x18
	ProvisionDevicePasswordExpiration                 Tag = 0x0E<<8 | 0x19
	ProvisionDevicePasswordHistory                    Tag = 0x0E<<8 | 0x1A
	ProvisionAllowStorageCard                         Tag = 0x0E<<8 | 0x1B
	ProvisionAllowCamera                              Tag = 0x0E<<8 | 0x1C
	ProvisionRequireDeviceEncryption                  Tag = 0x0E<<8 | 0x1D
	ProvisionAllowUnsignedApplications                Tag = 0x0E<<8 | 0x1E
	ProvisionAllowUnsignedInstallationPackages        Tag = 0x0E<<8 | 0x1F
	ProvisionMinDevicePasswordComplexCharacters       Tag = 0x0E<<8 | 0x20
	ProvisionAllowWiFi                                Tag = 0x0E<<8 | 0x21
	ProvisionAllowTextMessaging                       Tag = 0x0E<<8 | 0x22
	ProvisionAllowPOPIMAPEmail                        Tag = 0x0E<<8 | 0x23
	ProvisionAllowBluetooth                           Tag = 0x0E<<8 | 0x24
	ProvisionAllowIrDA                                Tag = 0x0E<<8 | 0x25
	ProvisionRequireManualSyncWhenRoaming             Tag = 0x0E<<8 | 0x26
	ProvisionAllowDesktopSync                         Tag = 0x0E<<8 | 0x27
	ProvisionMaxCalendarAgeFilter                     Tag = 0x0E<<8 | 0x28
	ProvisionAllowHTMLEmail                           Tag = 0x0E<<8 | 0x29
	ProvisionMaxEmailAgeFilter                        Tag = 0x0E<<8 | 0x2A
	ProvisionMaxEmailBodyTruncationSize               Tag = 0x0E<<8 | 0x2B
	ProvisionMaxEmailHTMLBodyTruncationSize           Tag = 0x0E<<8 | 0x2C
	ProvisionRequireSignedSMIMEMessages               Tag = 0x0E<<8 | 0x2D
	ProvisionRequireEncryptedSMIMEMessages            Tag = 0x0E<<8 | 0x2E
	ProvisionRequireSignedSMIMEAlgorithm              Tag = 0x0E<<8 | 0x2F
	ProvisionRequireEncryptionSMIMEAlgorithm          Tag = 0x0E<<8 | 0x30
	ProvisionAllowSMIMEEncryptionAlgorithmNegotiation Tag = 0x0E<<8 | 0x31
	ProvisionAllowSMIMESoftCerts                      Tag = 0x0E<<8 | 0x32
	ProvisionAllowBrowser                             Tag = 0x0E<<8 | 0x33
	ProvisionAllowConsumerEmail                       Tag = 0x0E<<8 | 0x34
	ProvisionAllowRemoteDesktop                       Tag = 0x0E<<8 | 0x35
	ProvisionAllowInternetSharing                     Tag = 0x0E<<8 | 0x36
	ProvisionUnapprovedInROMApplicationList           Tag = 0x0E<<8 | 0x37
	ProvisionApplicationName                          Tag = 0x0E<<8 | 0x38
	ProvisionApprovedApplicationList                  Tag = 0x0E<<8 | 0x39
	ProvisionHash                                     Tag = 0x0E<<8 | 0x3A
	ProvisionAccountOnlyRemoteWipe                    Tag = 0x0E<<8 | 0x3B

	// Code page 15, Search.
	Search               Tag = 0x0F<<8 | 0x05
	SearchStore          Tag = 0x0F<<8 | 0x07
	SearchName           Tag = 0x0F<<8 | 0x08
	SearchQuery          Tag = 0x0F<<8 | 0x09
	SearchOptions        Tag = 0x0F<<8 | 0x0A
	SearchRange          Tag = 0x0F<<8 | 0x0B
	SearchStatus         Tag = 0x0F<<8 | 0x0C
	SearchResponse       Tag = 0x0F<<8 | 0x0D
	SearchResult         Tag = 0x0F<<8 | 0x0E
	SearchProperties     Tag = 0x0F<<8 | 0x0F
	SearchTotal          Tag = 0x0F<<8 | 0x10
	SearchEqualTo        Tag = 0x0F<<8 | 0x11
	SearchValue          Tag = 0x0F<<8 | 0x12
	SearchAnd            Tag = 0x0F<<8 | 0x13
	SearchOr             Tag = 0x0F<<8 | 0x14
	SearchFreeText       Tag = 0x0F<<8 | 0x15
	SearchDeepTraversal  Tag = 0x0F<<8 | 0x17
	SearchLongId         Tag = 0x0F<<8 | 0x18
	SearchRebuildResults Tag = 0x0F<<8 | 0x19
	SearchLessThan       Tag = 0x0F<<8 | 0x1A
	SearchGreaterThan    Tag = 0x0F<<8 | 0x1B
	SearchUserName       Tag = 0x0F<<8 | 0x1E
	SearchPassword       Tag = 0x0F<<8 | 0x1F
	SearchConversationId Tag = 0x0F<<8 | 0x20
	SearchPicture        Tag = 0x0F<<8 | 0x21
	SearchMaxSize        Tag = 0x0F<<8 | 0x22
	SearchMaxPictures    Tag = 0x0F<<8 | 0x23

	// Code page 16, GAL.
	GALDisplayName  Tag = 0x10<<8 | 0x05
	GALPhone        Tag = 0x10<<8 | 0x06
	GALOffice       Tag = 0x10<<8 | 0x07
	GALTitle        Tag = 0x10<<8 | 0x08
	GALCompany      Tag = 0x10<<8 | 0x09
	GALAlias        Tag = 0x10<<8 | 0x0A
	GALFirstName    Tag = 0x10<<8 | 0x0B
	GALLastName     Tag = 0x10<<8 | 0x0C
	GALHomePhone    Tag = 0x10<<8 | 0x0D
	GALMobilePhone  Tag = 0x10<<8 | 0x0E
	GALEmailAddress Tag = 0x10<<8 | 0x0F
	GALPicture      Tag = 0x10<<8 | 0x10
	GALStatus       Tag = 0x10<<8 | 0x11
	GALData         Tag = 0x10<<8 | 0x12

	// Code page 17, AirSyncBase.
	AirSyncBaseType              Tag = 0x11<<8 | 0x06
	AirSyncBaseBody              Tag = 0x11<<8 | 0x0A
	AirSyncBaseEstimatedDataSize Tag = 0x11<<8 | 0x0C
	AirSyncBaseTruncated         Tag = 0x11<<8 | 0x0D
	AirSyncBaseNativeBodyType    Tag = 0x11<<8 | 0x16

	// Code page 18, Settings.
	Settings                   Tag = 0x12<<8 | 0x05
	SettingsStatus             Tag = 0x12<<8 | 0x06
	SettingsGet                Tag = 0x12<<8 | 0x07
	SettingsSet                Tag = 0x12<<8 | 0x08
	SettingsDeviceInformation  Tag = 0x12<<8 | 0x16
	SettingsModel              Tag = 0x12<<8 | 0x17
	SettingsIMEI               Tag = 0x12<<8 | 0x18
	SettingsFriendlyName       Tag = 0x12<<8 | 0x19
	SettingsOS                 Tag = 0x12<<8 | 0x1A
	SettingsOSLanguage         Tag = 0x12<<8 | 0x1B
	SettingsPhoneNumber        Tag = 0x12<<8 | 0x1C
	SettingsUserInformation    Tag = 0x12<<8 | 0x1D
	SettingsEmailAddresses     Tag = 0x12<<8 | 0x1E
	SettingsSMTPAddress        Tag = 0x12<<8 | 0x1F
	SettingsUserAgent          Tag = 0x12<<8 | 0x20
	SettingsEnableOutboundSMS  Tag = 0x12<<8 | 0x21
	SettingsMobileOperator     Tag = 0x12<<8 | 0x22
	SettingsPrimarySmtpAddress Tag = 0x12<<8 | 0x23
	SettingsAccounts           Tag = 0x12<<8 | 0x24

	// Code page 25, Find.
	Find                       Tag = 0x19<<8 | 0x05
	FindSearchId               Tag = 0x19<<8 | 0x06
	FindExecuteSearch          Tag = 0x19<<8 | 0x07
	FindMailBoxSearchCriterion Tag = 0x19<<8 | 0x08
	FindQuery                  Tag = 0x19<<8 | 0x09
	FindStatus                 Tag = 0x19<<8 | 0x0A
	FindFreeText               Tag = 0x19<<8 | 0x0B
	FindOptions                Tag = 0x19<<8 | 0x0C
	FindRange                  Tag = 0x19<<8 | 0x0D
	FindDeepTraversal          Tag = 0x19<<8 | 0x0E
	FindResponse               Tag = 0x19<<8 | 0x11
	FindResult                 Tag = 0x19<<8 | 0x12
	FindProperties             Tag = 0x19<<8 | 0x13
	FindTotal                  Tag = 0x19<<8 | 0x16
	FindGALSearchCriterion     Tag = 0x19<<8 | 0x19
	FindMaxPictures            Tag = 0x19<<8 | 0x20
	FindMaxSize                Tag = 0x19<<8 | 0x21
	FindPicture                Tag = 0x19<<8 | 0x22
)

// pageNames are the names of the code pages.
var pageNames = map[byte]string{
	0:  "AirSync",
	1:  "Contacts",
	7:  "FolderHierarchy",
	10: "ResolveRecipients",
	11: "ValidateCert",
	14: "Provision",
	15: "Search",
	16: "GAL",
	17: "AirSyncBase",
	18: "Settings",
	25: "Find",
}

// elementNames are the names of elements within their pages.
var elementNames = map[Tag]string{
	AirSyncSync:                                       "Sync",
	AirSyncAdd:                                        "Add",
	AirSyncSyncKey:                                    "SyncKey",
	AirSyncServerId:                                   "ServerId",
	AirSyncStatus:                                     "Status",
	AirSyncCollection:                                 "Collection",
	AirSyncClass:                                      "Class",
	AirSyncCollectionId:                               "CollectionId",
	AirSyncCommands:                                   "Commands",
	AirSyncCollections:                                "Collections",
	AirSyncApplicationData:                            "ApplicationData",
	ContactsFileAs:                                    "FileAs",
	ContactsFirstName:                                 "FirstName",
	ContactsLastName:                                  "LastName",
	FolderHierarchyDisplayName:                        "DisplayName",
	FolderHierarchyServerId:                           "ServerId",
	FolderHierarchyParentId:                           "ParentId",
	FolderHierarchyType:                               "Type",
	FolderHierarchyStatus:                             "Status",
	FolderHierarchyChanges:                            "Changes",
	FolderHierarchyAdd:                                "Add",
	FolderHierarchyDelete:                             "Delete",
	FolderHierarchyUpdate:                             "Update",
	FolderHierarchySyncKey:                            "SyncKey",
	FolderHierarchyFolderSync:                         "FolderSync",
	FolderHierarchyCount:                              "Count",
	ResolveRecipients:                                 "ResolveRecipients",
	ResolveRecipientsResponse:                         "Response",
	ResolveRecipientsStatus:                           "Status",
	ResolveRecipientsType:                             "Type",
	ResolveRecipientsRecipient:                        "Recipient",
	ResolveRecipientsDisplayName:                      "DisplayName",
	ResolveRecipientsEmailAddress:                     "EmailAddress",
	ResolveRecipientsCertificates:                     "Certificates",
	ResolveRecipientsCertificate:                      "Certificate",
	ResolveRecipientsMiniCertificate:                  "MiniCertificate",
	ResolveRecipientsOptions:                          "Options",
	ResolveRecipientsTo:                               "To",
	ResolveRecipientsCertificateRetrieval:             "CertificateRetrieval",
	ResolveRecipientsRecipientCount:                   "RecipientCount",
	ResolveRecipientsMaxCertificates:                  "MaxCertificates",
	ResolveRecipientsMaxAmbiguousRecipients:           "MaxAmbiguousRecipients",
	ResolveRecipientsCertificateCount:                 "CertificateCount",
	ResolveRecipientsAvailability:                     "Availability",
	ResolveRecipientsStartTime:                        "StartTime",
	ResolveRecipientsEndTime:                          "EndTime",
	ResolveRecipientsMergedFreeBusy:                   "MergedFreeBusy",
	ResolveRecipientsPicture:                          "Picture",
	ResolveRecipientsMaxSize:                          "MaxSize",
	ResolveRecipientsData:                             "Data",
	ResolveRecipientsMaxPictures:                      "MaxPictures",
	ValidateCert:                                      "ValidateCert",
	ValidateCertCertificates:                          "Certificates",
	ValidateCertCertificate:                           "Certificate",
	ValidateCertCertificateChain:                      "CertificateChain",
	ValidateCertCheckCRL:                              "CheckCRL",
	ValidateCertStatus:                                "Status",
	Provision:                                         "Provision",
	ProvisionPolicies:                                 "Policies",
	ProvisionPolicy:                                   "Policy",
	ProvisionPolicyType:                               "PolicyType",
	ProvisionPolicyKey:                                "PolicyKey",
	ProvisionData:                                     "Data",
	ProvisionStatus:                                   "Status",
	ProvisionRemoteWipe:                               "RemoteWipe",
	ProvisionEASProvisionDoc:                          "EASProvisionDoc",
	ProvisionDevicePasswordEnabled:                    "DevicePasswordEnabled",
	ProvisionAlphanumericDevicePasswordRequired:       "AlphanumericDevicePasswordRequired",
	ProvisionRequireStorageCardEncryption:             "RequireStorageCardEncryption",
	ProvisionPasswordRecoveryEnabled:                  "PasswordRecoveryEnabled",
	ProvisionAttachmentsEnabled:                       "AttachmentsEnabled",
	ProvisionMinDevicePasswordLength:                  "MinDevicePasswordLength",
	ProvisionMaxInactivityTimeDeviceLock:              "MaxInactivityTimeDeviceLock",
	ProvisionMaxDevicePasswordFailedAttempts:          "MaxDevicePasswordFailedAttempts",
	ProvisionMaxAttachmentSize:                        "MaxAttachmentSize",
	ProvisionAllowSimpleDevicePassword:                "AllowSimpleDevicePassword",
	ProvisionDevicePasswordExpiration:                 "DevicePasswordExpiration",
	ProvisionDevicePasswordHistory:                    "DevicePasswordHistory",
	ProvisionAllowStorageCard:                         "AllowStorageCard",
	ProvisionAllowCamera:                              "AllowCamera",
	ProvisionRequireDeviceEncryption:                  "RequireDeviceEncryption",
	ProvisionAllowUnsignedApplications:                "AllowUnsignedApplications",
	ProvisionAllowUnsignedInstallationPackages:        "AllowUnsignedInstallationPackages",
	ProvisionMinDevicePasswordComplexCharacters:       "MinDevicePasswordComplexCharacters",
	ProvisionAllowWiFi:                                "AllowWiFi",
	ProvisionAllowTextMessaging:                       "AllowTextMessaging",
	ProvisionAllowPOPIMAPEmail:                        "AllowPOPIMAPEmail",
	ProvisionAllowBluetooth:                           "AllowBluetooth",
	ProvisionAllowIrDA:                                "AllowIrDA",
	ProvisionRequireManualSyncWhenRoaming:             "RequireManualSyncWhenRoaming",
	ProvisionAllowDesktopSync:                         "AllowDesktopSync",
	ProvisionMaxCalendarAgeFilter:                     "MaxCalendarAgeFilter",
	ProvisionAllowHTMLEmail:                           "AllowHTMLEmail",
	ProvisionMaxEmailAgeFilter:                        "MaxEmailAgeFilter",
	ProvisionMaxEmailBodyTruncationSize:               "MaxEmailBodyTruncationSize",
	ProvisionMaxEmailHTMLBodyTruncationSize:           "MaxEmailHTMLBodyTruncationSize",
	ProvisionRequireSignedSMIMEMessages:               "RequireSignedSMIMEMessages",
	ProvisionRequireEncryptedSMIMEMessages:            "RequireEncryptedSMIMEMessages",
	ProvisionRequireSignedSMIMEAlgorithm:              "RequireSignedSMIMEAlgorithm",
	ProvisionRequireEncryptionSMIMEAlgorithm:          "RequireEncryptionSMIMEAlgorithm",
	ProvisionAllowSMIMEEncryptionAlgorithmNegotiation: "AllowSMIMEEncryptionAlgorithmNegotiation",
	ProvisionAllowSMIMESoftCerts:                      "AllowSMIMESoftCerts",
	ProvisionAllowBrowser:                             "AllowBrowser",
	ProvisionAllowConsumerEmail:                       "AllowConsumerEmail",
	ProvisionAllowRemoteDesktop:                       "AllowRemoteDesktop",
	ProvisionAllowInternetSharing:                     "AllowInternetSharing",
	ProvisionUnapprovedInROMApplicationList:           "UnapprovedInROMApplicationList",
	ProvisionApplicationName:                          "ApplicationName",
	ProvisionApprovedApplicationList:                  "ApprovedApplicationList",
	ProvisionHash:                                     "Hash",
	ProvisionAccountOnlyRemoteWipe:                    "AccountOnlyRemoteWipe",
	Search:                                            "Search",
	SearchStore:                                       "Store",
	SearchName:                                        "Name",
	SearchQuery:                                       "Query",
	SearchOptions:                                     "Options",
	SearchRange:                                       "Range",
	SearchStatus:                                      "Status",
	SearchResponse:                                    "Response",
	SearchResult:                                      "Result",
	SearchProperties:                                  "Properties",
	SearchTotal:                                       "Total",
	SearchEqualTo:                                     "EqualTo",
	SearchValue:                                       "Value",
	SearchAnd:                                         "And",
	SearchOr:                                          "Or",
	SearchFreeText:                                    "FreeText",
	SearchDeepTraversal:                               "DeepTraversal",
	SearchLongId:                                      "LongId",
	SearchRebuildResults:                              "RebuildResults",
	SearchLessThan:                                    "LessThan",
	SearchGreaterThan:                                 "GreaterThan",
	SearchUserName:                                    "UserName",
	SearchPassword:                                    "Password",
	SearchConversationId:                              "ConversationId",
	SearchPicture:                                     "Picture",
	SearchMaxSize:                                     "MaxSize",
	SearchMaxPictures:                                 "MaxPictures",
	GALDisplayName:                                    "DisplayName",
	GALPhone:                                          "Phone",
	GALOffice:                                         "Office",
	GALTitle:                                          "Title",
	GALCompany:                                        "Company",
	GALAlias:                                          "Alias",
	GALFirstName:                                      "FirstName",
	GALLastName:                                       "LastName",
	GALHomePhone:                                      "HomePhone",
	GALMobilePhone:                                    "MobilePhone",
	GALEmailAddress:                                   "EmailAddress",
	GALPicture:                                        "Picture",
	GALStatus:                                         "Status",
	GALData:                                           "Data",
	AirSyncBaseType:                                   "Type",
	AirSyncBaseBody:                                   "Body",
	AirSyncBaseEstimatedDataSize:                      "EstimatedDataSize",
	AirSyncBaseTruncated:                              "Truncated",
	AirSyncBaseNativeBodyType:                         "NativeBodyType",
	Settings:                                          "Settings",
	SettingsStatus:                                    "Status",
	SettingsGet:                                       "Get",
	SettingsSet:                                       "Set",
	SettingsDeviceInformation:                         "DeviceInformation",
	SettingsModel:                                     "Model",
	SettingsIMEI:                                      "IMEI",
	SettingsFriendlyName:                              "FriendlyName",
	SettingsOS:                                        "OS",
	SettingsOSLanguage:                                "OSLanguage",
	SettingsPhoneNumber:                               "PhoneNumber",
	SettingsUserInformation:                           "UserInformation",
	SettingsEmailAddresses:                            "EmailAddresses",
	SettingsSMTPAddress:                               "SMTPAddress",
	SettingsUserAgent:                                 "UserAgent",
	SettingsEnableOutboundSMS:                         "EnableOutboundSMS",
	SettingsMobileOperator:                            "MobileOperator",
	SettingsPrimarySmtpAddress:                        "PrimarySmtpAddress",
	SettingsAccounts:                                  "Accounts",
	Find:                                              "Find",
	FindSearchId:                                      "SearchId",
	FindExecuteSearch:                                 "ExecuteSearch",
	FindMailBoxSearchCriterion:                        "MailBoxSearchCriterion",
	FindQuery:                                         "Query",
	FindStatus:                                        "Status",
	FindFreeText:                                      "FreeText",
	FindOptions:                                       "Options",
	FindRange:                                         "Range",
	FindDeepTraversal:                                 "DeepTraversal",
	FindResponse:                                      "Response",
	FindResult:                                        "Result",
	FindProperties:                                    "Properties",
	FindTotal:                                         "Total",
	FindGALSearchCriterion:                            "GALSearchCriterion",
	FindMaxPictures:                                   "MaxPictures",
	FindMaxSize:                                       "MaxSize",
	FindPicture:                                       "Picture",
}
