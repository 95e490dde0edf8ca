package Fanout::JSON;

=head1 NAME

Fanout::JSON - encode and decode by JSON::XS where it is, else by JSON::PP

=head1 SYNOPSIS

    my $bytes = Fanout::JSON::encode({ a => Fanout::JSON::true });
    my $value = Fanout::JSON::decode($bytes);

Both work on UTF-8 bytes; keys come out sorted; decode dies on bad JSON.

=cut

use strict;
use warnings;

my $class = eval { require JSON::XS; 'JSON::XS' }
         || do { require JSON::PP; 'JSON::PP' };
my $json = $class->new->utf8->canonical->allow_nonref;

sub encode { $json->encode($_[0]) }
sub decode { $json->decode($_[0]) }

sub true  { $json->decode('true') }
sub false { $json->decode('false') }

1;
