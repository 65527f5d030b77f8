//! The gRPC methods that Synod knows: one list, from which paths and metric labels are made.

/// How many messages go each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One request, one response.
    Unary,
    /// One request, many responses.
    ServerStream,
    /// Many requests, many responses.
    BidiStream,
}

macro_rules! methods {
    ($($variant:ident: $service:literal $name:literal $kind:ident,)*) => {
        /// A gRPC method.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Method {
            $($variant,)*
        }

        impl Method {
            /// All of them, in the order of their numbers.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The method a request's path names.
            pub(crate) fn at(path: &str) -> Option<Self> {
                match path {
                    $(concat!("/", $service, "/", $name) => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The service's full name.
            pub(crate) const fn service(self) -> &'static str {
                match self {
                    $(Self::$variant => $service,)*
                }
            }

            /// The method's name in its service.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            pub(crate) const fn kind(self) -> Kind {
                match self {
                    $(Self::$variant => Kind::$kind,)*
                }
            }
        }
    };
}

// A path is looked for from the top, so the busiest stand first.
methods! {
    Put: "etcdserverpb.KV" "Put" Unary,
    Range: "etcdserverpb.KV" "Range" Unary,
    Txn: "etcdserverpb.KV" "Txn" Unary,
    DeleteRange: "etcdserverpb.KV" "DeleteRange" Unary,
    Compact: "etcdserverpb.KV" "Compact" Unary,
    RangeStream: "etcdserverpb.KV" "RangeStream" ServerStream,

    Watch: "etcdserverpb.Watch" "Watch" BidiStream,

    LeaseGrant: "etcdserverpb.Lease" "LeaseGrant" Unary,
    LeaseRevoke: "etcdserverpb.Lease" "LeaseRevoke" Unary,
    LeaseKeepAlive: "etcdserverpb.Lease" "LeaseKeepAlive" BidiStream,
    LeaseTimeToLive: "etcdserverpb.Lease" "LeaseTimeToLive" Unary,
    LeaseLeases: "etcdserverpb.Lease" "LeaseLeases" Unary,

    MemberList: "etcdserverpb.Cluster" "MemberList" Unary,
    MemberAdd: "etcdserverpb.Cluster" "MemberAdd" Unary,
    MemberRemove: "etcdserverpb.Cluster" "MemberRemove" Unary,
    MemberUpdate: "etcdserverpb.Cluster" "MemberUpdate" Unary,
    MemberPromote: "etcdserverpb.Cluster" "MemberPromote" Unary,

    Status: "etcdserverpb.Maintenance" "Status" Unary,
    Alarm: "etcdserverpb.Maintenance" "Alarm" Unary,
    Defragment: "etcdserverpb.Maintenance" "Defragment" Unary,
    Hash: "etcdserverpb.Maintenance" "Hash" Unary,
    HashKv: "etcdserverpb.Maintenance" "HashKV" Unary,
    Snapshot: "etcdserverpb.Maintenance" "Snapshot" ServerStream,
    MoveLeader: "etcdserverpb.Maintenance" "MoveLeader" Unary,
    Downgrade: "etcdserverpb.Maintenance" "Downgrade" Unary,

    AuthEnable: "etcdserverpb.Auth" "AuthEnable" Unary,
    AuthDisable: "etcdserverpb.Auth" "AuthDisable" Unary,
    AuthStatus: "etcdserverpb.Auth" "AuthStatus" Unary,
    Authenticate: "etcdserverpb.Auth" "Authenticate" Unary,
    UserAdd: "etcdserverpb.Auth" "UserAdd" Unary,
    UserGet: "etcdserverpb.Auth" "UserGet" Unary,
    UserList: "etcdserverpb.Auth" "UserList" Unary,
    UserDelete: "etcdserverpb.Auth" "UserDelete" Unary,
    UserChangePassword: "etcdserverpb.Auth" "UserChangePassword" Unary,
    UserGrantRole: "etcdserverpb.Auth" "UserGrantRole" Unary,
    UserRevokeRole: "etcdserverpb.Auth" "UserRevokeRole" Unary,
    RoleAdd: "etcdserverpb.Auth" "RoleAdd" Unary,
    RoleGet: "etcdserverpb.Auth" "RoleGet" Unary,
    RoleList: "etcdserverpb.Auth" "RoleList" Unary,
    RoleDelete: "etcdserverpb.Auth" "RoleDelete" Unary,
    RoleGrantPermission: "etcdserverpb.Auth" "RoleGrantPermission" Unary,
    RoleRevokePermission: "etcdserverpb.Auth" "RoleRevokePermission" Unary,

    Lock: "v3lockpb.Lock" "Lock" Unary,
    Unlock: "v3lockpb.Lock" "Unlock" Unary,

    Campaign: "v3electionpb.Election" "Campaign" Unary,
    Proclaim: "v3electionpb.Election" "Proclaim" Unary,
    Leader: "v3electionpb.Election" "Leader" Unary,
    Observe: "v3electionpb.Election" "Observe" ServerStream,
    Resign: "v3electionpb.Election" "Resign" Unary,

    ListLimits: "synodpb.Limits" "List" Unary,
    SetLimit: "synodpb.Limits" "Set" Unary,

    HealthCheck: "grpc.health.v1.Health" "Check" Unary,
    HealthWatch: "grpc.health.v1.Health" "Watch" ServerStream,

    Reflection: "grpc.reflection.v1.ServerReflection" "ServerReflectionInfo" BidiStream,
    ReflectionAlpha: "grpc.reflection.v1alpha.ServerReflection" "ServerReflectionInfo" BidiStream,
}

#[cfg(test)]
mod tests;
