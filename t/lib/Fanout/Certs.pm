package Fanout::Certs;

=head1 NAME

Fanout::Certs - the keys and certificates that docs/ has in /etc/nginx

=head1 SYNOPSIS

    my $certs = Fanout::Certs->make($directory);

    $conf = $certs->placed($conf);          # with paths in the directory
    $certs->path('device.pem');             # a client: CN=dev-1, and .key

=head1 DESCRIPTION

Files: public.pem, keys/provider.json, server.pem, devices-ca.pem, devices.crl;
clients of that CA: device.pem (CN=dev-1), revoked.pem (CN=dev-2); stranger.pem
(CN=dev-1) is of another CA. Each certificate has a .key.

=cut

use strict;
use warnings;

use File::Path qw( make_path );

use Fanout::JWT;


sub make {
    my ($class, $dir) = @_;

    my $self = bless { dir => $dir }, $class;

    make_path("$dir/keys", "$dir/ca");

    my $rsa = Fanout::JWT::key_pair('RS256', $dir);

    $self->write('public.pem', slurp($rsa->{pem}));
    $self->write('keys/provider.json', Fanout::JWT::jwks(k1 => $rsa));
    $self->self_signed($_) for qw( server devices-ca other-ca );

    $self->write('ca/index', '');
    $self->write('ca/serial', "01\n");
    $self->write('ca/ca.cnf', <<"END");
[ca]
default_ca = devices
[devices]
database = $dir/ca/index
serial = $dir/ca/serial
new_certs_dir = $dir/ca
private_key = $dir/devices-ca.key
certificate = $dir/devices-ca.pem
default_md = sha256
default_days = 2
default_crl_days = 2
policy = any
unique_subject = no
[any]
organizationName = optional
commonName = supplied
END

    $self->signed('device', 'dev-1', 'devices-ca');
    $self->signed('revoked', 'dev-2', 'devices-ca');
    $self->signed('stranger', 'dev-1', 'other-ca');

    $self->openssl(qw( ca -config ca/ca.cnf -revoke revoked.pem ));
    $self->openssl(qw( ca -config ca/ca.cnf -gencrl -out devices.crl ));

    return $self;
}


sub path { return "$_[0]{dir}/$_[1]" }


sub placed {
    my ($self, $conf) = @_;

    return $conf =~ s{/etc/nginx/((?:keys/)?[\w.-]+)}
                     {-e $self->path($1) ? $self->path($1) : $&}egr;
}


sub self_signed {
    my ($self, $name) = @_;

    $self->openssl(qw( req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256
                       -nodes -days 2 ), -subj => "/CN=$name",
                   -keyout => "$name.key", -out => "$name.pem");
}


sub signed {
    my ($self, $name, $cn, $ca) = @_;

    $self->openssl(qw( req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes ),
                   -subj => "/O=Example/CN=$cn", -keyout => "$name.key",
                   -out => "$name.csr");
    $self->openssl(qw( ca -batch -notext -config ca/ca.cnf -cert ), "$ca.pem",
                   -keyfile => "$ca.key", -in => "$name.csr",
                   -out => "$name.pem");
}


sub openssl {
    my ($self, @args) = @_;

    system 'sh', '-c', 'cd "$1" && shift && exec openssl "$@" > openssl.log 2>&1',
           'sh', $self->{dir}, @args;

    die "openssl @args: ", slurp($self->path('openssl.log')) if $?;
}


sub write {
    my ($self, $name, $text) = @_;

    my $path = $self->path($name);

    open my $f, '>', $path or die "$path: $!";
    print $f $text;
    close $f or die "$path: $!";
}


sub slurp {
    my ($path) = @_;

    open my $f, '<', $path or die "$path: $!";
    local $/;

    return scalar readline $f;
}


1;
