package Fanout::WS;

=head1 NAME

Fanout::WS - a WebSocket client on which everything can be broken

=head1 SYNOPSIS

    my $ws = Fanout::WS->connect(port => $port, path => '/raw?channel=a');

    $ws->send_text('hello');
    is($ws->recv_text, 'hello');

    $ws->send_frame(1, 'x', mask => 0);         # not masked: an error
    is($ws->wait_close, 1002);

    for my $c (Fanout::WS::ready(1, @clients)) {
        while (my $frame = $c->poll_frame) { ... }
    }

=head1 DESCRIPTION

All strings are bytes. Time-outs are seconds, 10 by default, and 0 polls.
What Fanout::Socket has (C<send_bytes>, C<cut>, C<shut_write>, C<eof>,
C<ready>, ...) is here too.

=over

=item connect(port, path?, %o)

Besides the options of Fanout::Socket's C<open>: C<subprotocols> (an array),
C<headers> (an array of pairs, or a hash; they replace those of the same
name, an undefined value removes one), C<method>, C<version> ("1.1"),
C<request> (the whole request as bytes), C<after> (bytes sent in the same
write behind the request), C<expect> (the status, 101 by default; undef takes
any), C<deflate> (1, or what to offer: permessage-deflate, see below). Dies
when the status is another. Afterwards C<status>, C<headers>,
C<body> and C<subprotocol> tell what came back.

=item frame(opcode, payload, %o), send_frame(...)

The bytes of a frame; sends them. Options: C<fin> (1), C<rsv> (0..7),
C<mask> (four bytes, by default random; 0 for none), C<length> (what is
declared), C<size> (7, 16 or 64: the form of the length).

=item send_text, send_binary, send_ping, send_pong(payload, %o)

=item send_close(code?, reason?)

=item recv_frame(timeout?)

The next frame as {fin, rsv, opcode, masked, payload}, or undef at a time-out
or the end (C<eof>). Nothing is answered. C<poll_frame> takes no time.

=item recv_message(timeout?)

The next data message as {opcode, payload}: fragments are put together, pings
answered (unless C<no_pong>), pongs skipped. Undef at a time-out, at the end, or when a
close frame came: then C<close_code> and C<close_reason> are set.

=item recv_text(timeout?)

The payload of the next message. Dies if it is not text.

=item deflate

What was agreed on, as {parameter => value}, undef if nothing was. Dies if the
answer is none to permessage-deflate. Messages that come deflated are inflated,
with the window agreed on and nothing of messages before, and have {deflated}:
the length they came in.

=item deflated(bytes, %o)

A message's payload as a client may deflate it. Options: C<bits> (15),
C<level> (6), C<final> (1: its last block says so).

=item send_deflated(opcode, bytes, %o)

Sends it. Options: those of C<frame> and C<deflated>.

=item close(code?, reason?), wait_close(timeout?)

The close handshake; waits for the server's: both return its code, 1005 for
none, 1006 for an end without a close frame, undef at a time-out.

=back

=cut

use strict;
use warnings;

use Compress::Raw::Zlib ();
use Digest::SHA qw( sha1_base64 );
use MIME::Base64 qw( encode_base64 );
use Fanout::Elapsed qw( time );
use Fanout::HTTP;
use Fanout::Socket;

our @ISA = qw( Fanout::Socket );

sub ready { goto &Fanout::Socket::ready }


sub connect {
    my ($class, %o) = @_;

    my $self = $class->open(%o);

    my $key = encode_base64(pack('N4', map { rand 2**32 } 1 .. 4), '');
    my $end = time + (defined $o{timeout} ? $o{timeout} : 10)
                     * $Fanout::Socket::SCALE;

    $self->{no_pong} = $o{no_pong};
    $self->{status} = 0;

    my $request = defined $o{request} ? $o{request} : request($key, %o);
    $request .= $o{after} if defined $o{after};

    $self->send_bytes($request) or die "can't send the handshake\n";

    my $buffer = $self->buffer;

    my $head;

    until (defined $head) {
        if ($$buffer =~ s/^(.*?)\r\n\r\n//s) {
            $head = $1;
            last;
        }

        my $left = $end - time;

        next if $left > 0 && $self->fill($left / $Fanout::Socket::SCALE);

        return $self if exists $o{expect} && !defined $o{expect};
        die "no answer to the handshake: "
            . ($self->eof ? "closed\n" : "timed out\n");
    }

    my $r = Fanout::HTTP::parse_head($head);

    $self->{status}  = $r->{status};
    $self->{headers} = $r->{headers};
    $self->{head}    = $r->{head};

    if ($r->{status} == 101) {
        check_accept($r, $key) if !defined $o{request};
        $self->{deflate} = agreed($r->{headers}{'sec-websocket-extensions'});

    } else {
        $self->read_body($end);
    }

    my $expect = exists $o{expect} ? $o{expect} : 101;

    if (defined $expect && $r->{status} != $expect) {
        $self->disconnect;
        die "the handshake got $r->{status}: "
            . ($self->{body} || $r->{reason}) . "\n";
    }

    return $self;
}


sub request {
    my ($key, %o) = @_;

    my @headers = (
        [ 'Host', 'localhost' ],
        [ 'Upgrade', 'websocket' ],
        [ 'Connection', 'Upgrade' ],
        [ 'Sec-WebSocket-Key', $key ],
        [ 'Sec-WebSocket-Version', 13 ],
    );

    push @headers,
        [ 'Sec-WebSocket-Protocol', join ', ', @{ $o{subprotocols} } ]
        if $o{subprotocols};

    push @headers, [ 'Sec-WebSocket-Extensions',
                     $o{deflate} eq '1' ? 'permessage-deflate' : $o{deflate} ]
        if $o{deflate};

    my @own = ref $o{headers} eq 'HASH'
            ? map { [ $_, $o{headers}{$_} ] } sort keys %{ $o{headers} }
            : @{ $o{headers} || [] };
    my %own = map { lc $_->[0] => 1 } @own;

    @headers = grep { defined $_->[1] }
               (grep { !$own{ lc $_->[0] } } @headers), @own;

    return ($o{method} || 'GET') . ' ' . ($o{path} || '/') . ' HTTP/'
         . ($o{version} || '1.1') . "\r\n"
         . join('', map { "$_->[0]: $_->[1]\r\n" } @headers) . "\r\n";
}


sub check_accept {
    my ($r, $key) = @_;

    my $want = sha1_base64($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11') . '=';
    my $got  = $r->{headers}{'sec-websocket-accept'} || '';

    die "Sec-WebSocket-Accept is \"$got\", not \"$want\"\n" if $got ne $want;
}


# RFC 7692, section 7.1: parameters of the answer

sub agreed {
    my ($header) = @_;

    return undef if !defined $header;

    my ($name, @parameters) = split /\s*;\s*/, $header;

    die "the extension is \"$header\"\n" if $name ne 'permessage-deflate';

    my %agreed;

    for (@parameters) {
        my ($key, $value) = /^(\w+)(?:=(\d+))?$/;

        die "agreed on \"$header\"\n"
            if !defined $key || exists $agreed{$key}
               || $key !~ /^(?:client|server)_(?:no_context_takeover
                                              |max_window_bits)$/x
               || ($key =~ /bits/) != defined $value
               || (defined $value && ($value < 8 || $value > 15));

        $agreed{$key} = $value;
    }

    return \%agreed;
}


sub read_body {
    my ($self, $end) = @_;

    my $length = $self->{headers}{'content-length'};
    my $buffer = $self->buffer;

    while (!defined $length || length $$buffer < $length) {
        my $left = ($end - time) / $Fanout::Socket::SCALE;
        last if $left <= 0 || !$self->fill($left);
    }

    $self->{body} = $$buffer;
}


sub status       { $_[0]{status} }
sub headers      { $_[0]{headers} }
sub body         { $_[0]{body} }
sub subprotocol  { $_[0]{headers}{'sec-websocket-protocol'} }
sub deflate      { $_[0]{deflate} }
sub close_code   { $_[0]{close_code} }
sub close_reason { $_[0]{close_reason} }


sub frame {
    my ($self, $opcode, $payload, %o) = @_;

    my $fin  = exists $o{fin} ? $o{fin} : 1;
    my $len  = exists $o{length} ? $o{length} : length $payload;
    my $size = $o{size} || ($len < 126 ? 7 : $len < 65536 ? 16 : 64);

    my $mask = !exists $o{mask} ? pack('N', rand 2**32)
             : !defined $o{mask} || $o{mask} eq '0' ? '' : $o{mask};
    my $bit = length $mask ? 0x80 : 0;

    my $bytes = pack 'C', ($fin ? 0x80 : 0) | ($o{rsv} || 0) << 4 | $opcode;

    $bytes .= $size == 7  ? pack('C', $bit | $len)
            : $size == 16 ? pack('Cn', $bit | 126, $len)
            :               pack('CQ>', $bit | 127, $len);

    return $bytes . $mask . masked($payload, $mask);
}


sub masked {
    my ($payload, $mask) = @_;

    return $payload if !length $mask || $mask eq "\0\0\0\0";

    my $n = length $payload;

    # a number would be taken for one
    return "$payload" ^ substr($mask x (($n + 3) / 4), 0, $n);
}


sub send_frame {
    my ($self, @frame) = @_;

    return $self->send_bytes($self->frame(@frame));
}


sub send_text   { my $s = shift; $s->send_frame(1, @_) }
sub send_binary { my $s = shift; $s->send_frame(2, @_) }

sub deflated {
    my ($self, $bytes, %o) = @_;

    my $bits = $o{bits} || 15;

    # zlib makes none of 8 bits, but one of 9 refers to 250 bytes at most

    my ($d, $rc) = Compress::Raw::Zlib::Deflate->new(
        -Level      => defined $o{level} ? $o{level} : 6,
        -WindowBits => -($bits == 8 ? 9 : $bits));

    die "deflateInit: $rc\n" if !$d;

    $d->deflate($bytes, my $one) == 0 or die;
    $d->flush(my $two, $o{final} ? Compress::Raw::Zlib::Z_FINISH()
                                 : Compress::Raw::Zlib::Z_SYNC_FLUSH()) == 0
        or die;

    my $out = $one . $two;

    return "$out\0" if $o{final};

    $out =~ s/\x00\x00\xff\xff\z// or die "no sync\n";

    return $out;
}


sub inflated {
    my ($self, $bytes) = @_;

    my $agreed = $self->{deflate}
        or die "a deflated message, which was not agreed on\n";

    my ($i, $rc) = Compress::Raw::Zlib::Inflate->new(
        -WindowBits => -($agreed->{server_max_window_bits} || 15),
        -Bufsize    => 64);

    die "inflateInit: $rc\n" if !$i;

    my $in = "$bytes\x00\x00\xff\xff";

    $rc = $i->inflate($in, my $out);

    die "inflate: $rc\n"
        if ($rc != 0 && $rc != Compress::Raw::Zlib::Z_BUF_ERROR())
           || length $in;

    return $out;
}


sub send_deflated {
    my ($self, $opcode, $bytes, %o) = @_;

    return $self->send_frame($opcode, $self->deflated($bytes, %o), rsv => 4,
                             %o);
}


sub send_ping {
    my ($self, $payload, %o) = @_;

    return $self->send_frame(9, defined $payload ? $payload : '', %o);
}


sub send_pong {
    my ($self, $payload, %o) = @_;

    return $self->send_frame(10, defined $payload ? $payload : '', %o);
}


sub send_close {
    my ($self, $code, $reason) = @_;

    my $payload = defined $code ? pack('n', $code) : '';
    $payload .= $reason if defined $reason;

    return $self->send_frame(8, $payload);
}


sub take_frame {
    my ($self) = @_;

    my $buffer = $self->{buffer};
    my $have   = length $$buffer;

    return undef if $have < 2;

    my ($b0, $b1) = unpack 'CC', $$buffer;

    my $len  = $b1 & 0x7f;
    my $head = 2 + ($len == 126 ? 2 : $len == 127 ? 8 : 0)
                 + ($b1 & 0x80 ? 4 : 0);

    return undef if $have < $head;

    $len = $len == 126 ? unpack('x2n', $$buffer)
         : $len == 127 ? unpack('x2Q>', $$buffer)
         :               $len;

    return undef if $have < $head + $len;

    my $mask = $b1 & 0x80 ? substr($$buffer, $head - 4, 4) : '';
    my $payload = masked(substr($$buffer, $head, $len), $mask);

    substr $$buffer, 0, $head + $len, '';

    return {
        fin     => $b0 >> 7,
        rsv     => $b0 >> 4 & 7,
        opcode  => $b0 & 15,
        masked  => $b1 >> 7,
        payload => $payload,
    };
}


sub poll_frame { $_[0]->recv_frame(0) }


sub recv_frame {
    my ($self, $timeout) = @_;

    my $end = time + (defined $timeout ? $timeout : 10)
                     * $Fanout::Socket::SCALE;

    while (1) {
        my $frame = $self->take_frame;

        return $frame if $frame;

        my $left = ($end - time) / $Fanout::Socket::SCALE;
        return undef if !$self->fill($left > 0 ? $left : 0);
    }
}


sub recv_message {
    my ($self, $timeout) = @_;

    my $end = time + (defined $timeout ? $timeout : 10)
                     * $Fanout::Socket::SCALE;

    while (1) {
        my $left  = ($end - time) / $Fanout::Socket::SCALE;
        my $frame = $self->recv_frame($left > 0 ? $left : 0) or return undef;

        my $message = $self->accept_frame($frame);

        return $message if $message;
        return undef if defined $self->{close_code};
    }
}


# a data message when this frame completes one

sub accept_frame {
    my ($self, $frame) = @_;

    my $opcode = $frame->{opcode};

    die "reserved bits $frame->{rsv} in a control frame\n"
        if $opcode > 7 && $frame->{rsv};

    if ($opcode == 8) {
        my ($code, $reason) = length $frame->{payload} > 1
                            ? unpack('na*', $frame->{payload}) : (1005, '');

        $self->{close_code}   = $code;
        $self->{close_reason} = $reason;
        return undef;
    }

    if ($opcode == 9) {
        $self->send_pong($frame->{payload}) if !$self->{no_pong};
        return undef;
    }

    return undef if $opcode > 2;

    die "reserved bits $frame->{rsv} in a frame of opcode $opcode\n"
        if $frame->{rsv} && ($frame->{rsv} != 4 || $opcode == 0);

    if ($opcode == 0) {
        die "a continuation of nothing\n" if !$self->{part};
        $self->{part}{payload} .= $frame->{payload};

    } else {
        die "a message inside another's fragments\n" if $self->{part};
        $self->{part} = { opcode => $opcode, payload => $frame->{payload} };
        $self->{part}{deflated} = 1 if $frame->{rsv};
    }

    return undef if !$frame->{fin};

    my $message = delete $self->{part};

    if ($message->{deflated}) {
        $message->{deflated} = length $message->{payload};
        $message->{payload}  = $self->inflated($message->{payload});
    }

    return $message;
}


sub recv_text {
    my ($self, $timeout) = @_;

    my $message = $self->recv_message($timeout) or return undef;

    die "a binary message where text was expected\n"
        if $message->{opcode} != 1;

    return $message->{payload};
}


sub close {
    my ($self, $code, $reason) = @_;

    $code = 1000 if !defined $code;

    $self->send_close($code, $reason);

    my $got = $self->wait_close;
    $self->disconnect;

    return $got;
}


sub wait_close {
    my ($self, $timeout) = @_;

    my $end = time + (defined $timeout ? $timeout : 10)
                     * $Fanout::Socket::SCALE;

    while (!defined $self->{close_code} && !$self->eof) {
        my $left = ($end - time) / $Fanout::Socket::SCALE;
        last if $left <= 0;
        $self->recv_message($left);
    }

    return $self->{close_code} if defined $self->{close_code};
    return $self->eof ? 1006 : undef;
}


1;
