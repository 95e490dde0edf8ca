#!/usr/bin/env perl

# A thousand requests that are nearly right: if this fails, somebody who can
# reach the HTTP API brings a worker down, or gets an answer that is none.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Socket;


my $seed = $ENV{TEST_SEED} || 20261121;
my $count = $ENV{TEST_MUTATIONS} || 1000;

my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 4m;
        fanout_channel app * history=100;
END
    server => <<'END',
        location /fanout/  { fanout_api app; client_body_buffer_size 1k; }
        location = /status { fanout_status app; }
END
);

my @pids = sort $nginx->worker_pids;


# a generator of our own, for the same numbers everywhere

my $state = $seed;

sub below { $state = ($state * 1103515245 + 12345) & 0x7fffffff; ($state >> 8) % $_[0] }
sub any   { $_[below(scalar @_)] }

sub request {
    my ($line, $body, @headers) = @_;

    push @headers, 'Content-Length: ' . length $body if defined $body;

    return [ "$line HTTP/1.1", [ 'Host: localhost', @headers ], $body // '' ];
}

my $e = '0123456789abcdef';
my $json = 'Content-Type: application/json';

my @valid = (
    request('POST /fanout/channels/a/messages', '{"x":[1,2.5e3,"\ud83d\ude00"],"y":null}', $json),
    request('POST /fanout/channels/a%2Fb/messages?event=m&user=ann&store=0', 'text'),
    request("POST /fanout/channels/a/messages?if=$e:1&meta=%7B%7D", "\0\xff",
            'Content-Type: application/octet-stream', 'Fanout-Key: k1'),
    request("GET /fanout/channels/a/messages?since=$e:3&before=9&limit=5"),
    request('GET /fanout/channels/a'),
    request('GET /fanout/channels?match=a*&cursor=3&limit=9'),
    request('DELETE /fanout/channels/b?reason=tidy'),
    request('POST /fanout/batch', Fanout::JSON::encode([
        { op => 'publish', channel => 'a', data => 'AAAA', enc => 'base64', key => 'k' },
        { op => 'publish', channel => "\x{e9}", data => {}, meta => 1,
          if => { epoch => $e, offset => 1 } },
        { op => 'history', channel => 'a', limit => 3, before => 7,
          since => { epoch => $e, offset => 1 } },
        { op => 'info', channel => 'a' }, { op => 'purge', channel => 'b', reason => 'r' },
    ]), $json),
    request('POST /fanout/broadcast', '{"channels":["a","b"],"data":[true],"event":"e"}', $json),
    request('GET /status?format=json'),
);

my @pieces = ("\0", '*', '%00', '%2F', '%', '%zz', '"', '\\', '\ud800', "\xff", "\xe2\x80\xa8",
              "\xed\xa0\x80", '{', '}', '[' x 70, ']', ',', ':', '-1', '1e999', '4294967296',
              '18446744073709551616', '9007199254740992', 'null', '/', '//', '/../', '?', '&',
              '=', '+', ' ', "\t", 'x' x 300, '%C2%85');

sub mutate {
    my ($text) = @_;

    for (0 .. below(3)) {
        my $at = below(1 + length $text);
        my $how = below(5);

        if    ($how == 0) { substr($text, $at, 0) = any(@pieces) }
        elsif ($how == 1) { substr($text, $at, 1 + below(8)) = '' if $at < length $text }
        elsif ($how == 2) { substr($text, $at, 1) = chr below(256) if $at < length $text }
        elsif ($how == 3) { substr($text, $at, 0) = substr $text, below(1 + length $text), 20 }
        else              { substr($text, $at, 1) = any(@pieces) if $at < length $text }
    }

    return $text;
}

sub mutant {
    my ($line, $headers, $body) = @{ any(@valid) };

    my @headers = @$headers;
    my $what = below(10);

    $line = mutate($line) if $what < 4;

    if ($what >= 3 && length $body) {
        $body = mutate($body);

        # mostly the length of what is sent, or it would never be read
        s/^(Content-Length: ).*/$1 . length $body/e for below(8) ? @headers : ();
    }

    if ($what == 9) {
        my $i = below(scalar @headers);
        $headers[$i] = mutate($headers[$i]);
    }

    return join "\r\n", $line, @headers, 'Connection: close', '', $body;
}


my (%statuses, @odd);

for my $n (1 .. $count) {
    my $bytes = mutant();
    my $s = Fanout::Socket->open(port => $nginx->port);

    # a body that is shorter than was said ends with the connection

    $s->send_bytes($bytes);
    $s->shut_write;

    1 while !$s->eof && $s->fill(5);

    my $answer = ${ $s->buffer };

    if ($answer =~ m{^HTTP/1\.[01] (\d+) }) {
        my $status = $1;
        $statuses{$status}++;

        my ($head, $text) = split /\r\n\r\n/, $answer, 2;

        # what was the body may have become a request of its own

        $text = substr $text, 0, $1
            if $head =~ /^Content-Length: (\d+)/mi && $1 < length $text;

        # half a pair of surrogates is JSON, but no decoder of Perl takes it

        $text =~ s/(\\\\)|\\u[dD][89a-fA-F][0-9a-fA-F]{2}/$1 || '?'/ge;

        push @odd, [ $bytes, $answer ]
            if $status == 500
               || ($head =~ m{^Content-Type: application/json}mi && $bytes !~ /^HEAD/
                   && !eval { Fanout::JSON::decode($text); 1 });

    } elsif (!$s->eof) {
        push @odd, [ $bytes, 'no answer' ];

    } else {
        $statuses{none}++;
    }

    $s->disconnect;
}

diag(Fanout::JSON::encode($_)) for @odd[0 .. (@odd > 3 ? 2 : $#odd)];
is(scalar @odd, 0, "every answer is one (seed $seed)");
note(join ', ', map { "$_: $statuses{$_}" } sort keys %statuses);

cmp_ok($statuses{$_} || 0, '>', 0, "some were answered by $_") for 200, 201, 400, 404;

is_deeply([ sort $nginx->worker_pids ], \@pids, 'the workers live');

for my $pid (@pids) {
    my $http = $nginx->http(worker => $pid);

    is($http->post('/fanout/channels/after/messages', '1')->{status}, 201, "$pid publishes");
    is($http->get('/fanout/channels/after/messages')->{status}, 200, "$pid reads");

    my $status = $http->get('/status')->json;
    my $z = $status->{zone};
    my $used = 0;
    $used += $_ for values %{ $z->{used} };

    is($used + $z->{free}, $z->{blocks}, "$pid: every block is accounted for");

    # the status itself is written to a frame

    cmp_ok($status->{worker}{frames}, '<', 65536, "$pid: no answer is left behind");
}
