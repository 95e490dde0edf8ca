#!/usr/bin/env perl

# HTTP/2 as no client should speak it: streams, polls and POSTs that are reset,
# windows that close and overflow, settings that change, frames out of place.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Fanout::Fuzz;
use Fanout::H2;
use Fanout::Nginx;

*frame = \&Fanout::H2::frame;

plan(skip_all => 'NGINX without HTTP/2')
    if `@{[ Fanout::Nginx::binary() ]} -V 2>&1` !~ /http_v2_module/;

my $fuzz = Fanout::Fuzz->new;

my @methods = (qw( GET GET GET GET HEAD POST OPTIONS PUT CONNECT ));

# a connection: its socket, the next stream, and those that were opened

my @connections;


sub open_one {
    my $s = $fuzz->connect('PORT1') or return;

    $fuzz->write($s, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . frame(4, 0, 0,
        $fuzz->chance(0.5) ? pack('nN', 4, window()) : ''));

    push @connections, { s => $s, next => 1, open => [] };
    shift @connections if @connections > 6;
}


sub window {
    return $fuzz->one_of(0, 0, 1, 60, 1000, 65_535, 0x7fffffff);
}


sub stream {
    my ($c) = @_;

    my $open = $c->{open};

    return @$open && $fuzz->chance(0.95) ? $open->[rand @$open]
                                         : $fuzz->below(100);
}


sub fields {
    my @fields = @_;
    my $block  = '';

    while (my ($name, $value) = splice @fields, 0, 2) {
        $block .= Fanout::H2::literal($name, $value);
    }

    return $block;
}


sub request {
    my ($c) = @_;

    my $id = $c->{next};
    $c->{next} += 2;
    push @{ $c->{open} }, $id;
    shift @{ $c->{open} } if @{ $c->{open} } > 20;

    my $method = $fuzz->one_of(@methods);
    my $path   = $fuzz->chance(0.1)
               ? $fuzz->one_of('/files/long', '/cached/long', '/status')
               : $fuzz->path;
    my @add;

    push @add, 'fanout-resume' => $fuzz->token if $fuzz->chance(0.3);
    push @add, 'x-requested-with' => 'x' if $fuzz->chance(0.8);
    push @add, accept => 'text/event-stream' if $fuzz->chance(0.3);
    push @add, origin => 'https://example.com' if $fuzz->chance(0.2);
    push @add, range => 'bytes=0-2,4-' if $fuzz->chance(0.1);
    push @add, 'last-event-id' => '1.1' if $fuzz->chance(0.1);

    my $body = $method eq 'POST' ? $fuzz->commands : '';

    push @add, 'content-type' => 'application/json' if length $body;
    push @add, 'content-length' => length($body) + $fuzz->one_of(0, 0, 0, 5)
        if length $body && $fuzz->chance(0.5);

    my $block = fields(':method', $method, ':scheme', 'http', ':path', $path,
                       ':authority', 'x', @add);

    my $bytes = frame(1, 4 | (length $body ? 0 : 1), $id, $block);

    if ($fuzz->chance(0.05)) {
        my $n = $fuzz->below(length $block);
        $bytes = frame(1, length $body ? 0 : 1, $id, substr $block, 0, $n)
                 . frame(9, 4, $id, substr $block, $n);
    }

    while (length $body) {
        my $part = substr $body, 0, 1 + $fuzz->below(length $body), '';
        $bytes .= frame(0, length $body || $fuzz->chance(0.1) ? 0 : 1, $id,
                        $part);
    }

    $fuzz->write($c->{s}, $bytes);
}


# what a client does, the likely ones first

my @acts = (
    \&request, \&request, \&request,
    sub { reset_stream(@_) }, sub { reset_stream(@_) },
    sub { open_window(@_) }, sub { open_window(@_) },
    sub { settings(@_) },
    sub { $fuzz->read_some($_[0]{s}) }, sub { $fuzz->read_some($_[0]{s}) },
    sub { $fuzz->publish }, sub { $fuzz->publish },
    sub { $fuzz->pause },
    sub { $fuzz->write($_[0]{s}, frame(6, $fuzz->below(2), 0, 'pingpong')) },
    sub { odd(@_) },
    sub { open_one() },
    sub { cut(@_) },
);


sub reset_stream {
    my ($c) = @_;

    $fuzz->write($c->{s}, frame(3, 0, stream($c),
                                pack 'N', $fuzz->below(14)));
}


sub open_window {
    my ($c) = @_;

    $fuzz->write($c->{s}, frame(8, 0, $fuzz->chance(0.3) ? 0 : stream($c),
        pack 'N', $fuzz->one_of(1, 60, 5000, 100_000, 0x3fffffff)));
}


sub settings {
    my ($c) = @_;

    $fuzz->write($c->{s}, frame(4, 0, 0, $fuzz->one_of(
        pack('nN', 4, window()), pack('nN', 4, 0), pack('nN', 1, 0),
        pack('nN', 5, 16_384 + $fuzz->below(1000)), pack('nN', 3, 0))));
}


# mostly the end of the connection

sub odd {
    my ($c) = @_;

    return if !$fuzz->chance(0.2);

    my $id = stream($c);

    $fuzz->write($c->{s}, $fuzz->one_of(
        frame(7, 0, 0, pack 'NN', 0, 0),
        frame(0, $fuzz->below(2), $id, 'x' x $fuzz->below(2000)),
        frame(2, 0, $id, pack 'NC', $id, 5),
        frame(1, 5, $id, $fuzz->bytes(30)),
        frame($fuzz->below(20), $fuzz->below(256), $id,
              $fuzz->bytes($fuzz->below(40))),
        frame(8, 0, $id, pack 'N', 0),
        frame(4, 0, 0, pack 'nN', 4, 0xffffffff),
        $fuzz->bytes(20),
    ));
}


sub cut {
    my ($c) = @_;

    return if !$fuzz->chance(0.3);

    @connections = grep { $_ != $c } @connections;
    $fuzz->close_some(1);
}


$fuzz->run(sub {
    for (1 .. 20) {
        open_one() if !@connections;
        return if !@connections;

        $fuzz->one_of(@acts)->($connections[rand @connections]);
    }
});

@connections = ();

done_testing;
