package Fanout::H2;

=head1 NAME

Fanout::H2 - just enough of HTTP/2 to send it right, or wrong

=head1 SYNOPSIS

    use Fanout::H2;

    my $c = Fanout::H2->connect(port => $port, window => 65535);

    $c->get(1, '/realtime?channel=a', 'fanout-resume' => $token);
    $c->read_until(sub { $c->{body}{1} =~ /welcome/ }) or die;
    $c->send(Fanout::H2::frame(3, 0, 1, pack 'N', 8));      # RST_STREAM

=head1 DESCRIPTION

C<connect> sends the preface and SETTINGS with that initial window. C<headers>
sends a HEADERS frame with these fields, C<get> one of a GET. C<read_until> reads
frames until its sub is true, false after the timeout or at the end of the
connection; what came is in C<body> and C<end>, by stream, and C<goaway>.

Functions: C<frame(type, flags, stream, payload)>, C<literal(name, value)>.

=cut

use strict;
use warnings;

use Fanout::Elapsed qw( time );
use Fanout::Socket;


# RFC 9113, section 4.1

sub frame {
    my ($type, $flags, $stream, $data) = @_;

    $data = '' if !defined $data;

    return substr(pack('N', length $data), 1)
           . pack('CCN', $type, $flags, $stream) . $data;
}


# RFC 7541, section 6.2.2

sub literal {
    my ($name, $value) = @_;

    return "\0" . string($name) . string($value);
}


sub string {
    my ($s) = @_;

    my $n = length $s;

    return chr($n) . $s if $n < 127;

    my $bytes = chr 127;

    for ($n -= 127; $n >= 128; $n >>= 7) {
        $bytes .= chr($n & 127 | 128);
    }

    return $bytes . chr($n) . $s;
}


sub connect {
    my ($class, %o) = @_;

    my $s = Fanout::Socket->open(port => $o{port});

    my $self = bless { s => $s, body => {}, end => {}, reset => {} }, $class;

    $self->send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                . frame(4, 0, 0, defined $o{window}
                                 ? pack('nN', 4, $o{window}) : ''));

    return $self;
}


sub send {
    my ($self, $bytes) = @_;

    return eval { $self->{s}->send_bytes($bytes); 1 };
}


sub headers {
    my ($self, $stream, $flags, @fields) = @_;

    my $block = '';

    while (my ($name, $value) = splice @fields, 0, 2) {
        $block .= literal($name, $value);
    }

    $self->{body}{$stream} = '';

    return $self->send(frame(1, $flags, $stream, $block));
}


sub get {
    my ($self, $stream, $path, @fields) = @_;

    return $self->headers($stream, 5, ':method', 'GET', ':scheme', 'http',
                          ':path', $path, ':authority', 'x', @fields);
}


sub read_until {
    my ($self, $enough, $timeout) = @_;

    my $s      = $self->{s};
    my $end    = time + (defined $timeout ? $timeout : 20);
    my $buffer = $s->buffer;

    until ($enough->()) {

        if (length $$buffer >= 9) {
            my ($high, $low, $type, $flags, $stream)
                = unpack 'CnCCN', $$buffer;
            my $len = $high << 16 | $low;

            if (length $$buffer >= 9 + $len) {
                my $data = substr $$buffer, 9, $len;
                substr $$buffer, 0, 9 + $len, '';

                $self->{body}{$stream} .= $data if $type == 0;
                $self->{end}{$stream} = 1 if $type < 2 && $flags & 1;
                $self->{reset}{$stream} = 1 if $type == 3;
                $self->{goaway} = 1 if $type == 7;
                $self->send(frame(4, 1, 0)) if $type == 4 && !($flags & 1);
                next;
            }
        }

        return 0 if time > $end || $s->eof;

        my $left = $end - time;
        eval { $s->fill($left > 0 ? $left : 0); 1 } or return 0;
    }

    return 1;
}


1;
