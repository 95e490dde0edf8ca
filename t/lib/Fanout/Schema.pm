package Fanout::Schema;

=head1 NAME

Fanout::Schema - values against schemas of an OpenAPI document

=head1 SYNOPSIS

    my $schema = Fanout::Schema->new($document);

    is($schema->check({ '$ref' => '#/components/schemas/Page' }, $value), '');

=head1 DESCRIPTION

C<check(schema, value)> returns what is wrong, with its place, or ''. It knows
what docs/openapi.json uses of JSON Schema, dies on any other keyword, and is
strict: a member that a schema with C<properties> does not name is wrong.
C<resolve(value)> follows a $ref.

=cut

use strict;
use warnings;

use B ();


my %check = (
    type => sub {
        my ($self, $type, $value, $at) = @_;
        return is_type($type, $value) ? '' : "$at is no $type";
    },

    const => sub {
        my ($self, $const, $value, $at) = @_;
        return equal($const, $value) ? '' : "$at is not " . show($const);
    },

    enum => sub {
        my ($self, $enum, $value, $at) = @_;
        return (grep { equal($_, $value) } @$enum)
               ? '' : "$at is " . show($value) . ', none of those it may be';
    },

    pattern => sub {
        my ($self, $pattern, $value, $at) = @_;
        return $value =~ /$pattern/ ? '' : "$at is \"$value\"";
    },

    minimum => sub { $_[2] < $_[1] ? "$_[3] is $_[2]" : '' },
    maximum => sub { $_[2] > $_[1] ? "$_[3] is $_[2]" : '' },

    minLength => sub { length $_[2] < $_[1] ? "$_[3] is too short" : '' },
    maxLength => sub { length $_[2] > $_[1] ? "$_[3] is too long" : '' },
    maxItems  => sub { @{ $_[2] } > $_[1] ? "$_[3] has too many" : '' },

    minProperties => sub { keys %{ $_[2] } < $_[1] ? "$_[3] is empty" : '' },

    required => sub {
        my ($self, $names, $value, $at) = @_;
        my ($missing) = grep { !exists $value->{$_} } @$names;
        return defined $missing ? "$at.$missing is missing" : '';
    },

    properties => sub {
        my ($self, $properties, $value, $at) = @_;

        for my $name (sort keys %$value) {
            return "$at.$name is not described" if !$properties->{$name};

            my $why = $self->check($properties->{$name}, $value->{$name},
                                   "$at.$name");
            return $why if $why;
        }

        return '';
    },

    items => sub {
        my ($self, $schema, $value, $at) = @_;

        for my $i (0 .. $#$value) {
            my $why = $self->check($schema, $value->[$i], "$at\[$i\]");
            return $why if $why;
        }

        return '';
    },

    allOf => sub {
        my ($self, $schemas, @value) = @_;
        my ($why) = grep { $_ } map { $self->check($_, @value) } @$schemas;
        return $why || '';
    },

    anyOf => sub {
        my ($self, $schemas, @value) = @_;
        my @why = map { $self->check($_, @value) } @$schemas;
        return (grep { !$_ } @why) ? '' : join ' and ', @why;
    },

    oneOf => sub {
        my ($self, $schemas, @value) = @_;
        my @why = map { $self->check($_, @value) } @$schemas;
        my $fit = grep { !$_ } @why;
        return $fit == 1 ? '' : $fit ? "$value[1] fits several"
                                     : join ' and ', @why;
    },
);

my %says = map { $_ => 1 } qw( description default discriminator
                               contentMediaType );


sub new {
    my ($class, $document) = @_;

    return bless { document => $document }, $class;
}


sub check {
    my ($self, $schema, $value, $at) = @_;

    $schema = $self->resolve($schema);
    $at = 'it' if !defined $at;

    # the type first: others rely on it

    for my $keyword (sort { ($b eq 'type') <=> ($a eq 'type') || $a cmp $b }
                     keys %$schema)
    {
        next if $says{$keyword};

        my $check = $check{$keyword} or die "unknown keyword \"$keyword\"\n";
        my $why   = $check->($self, $schema->{$keyword}, $value, $at);

        return $why if $why;
    }

    return '';
}


sub resolve {
    my ($self, $value) = @_;

    while (ref $value eq 'HASH' && $value->{'$ref'}) {
        my $to = $self->{document};

        for my $name (split m{/}, $value->{'$ref'} =~ s{^#/}{}r) {
            $to = ref $to eq 'HASH' ? $to->{ $name =~ s/~1/\//gr } : undef;
        }

        die "$value->{'$ref'} is not there\n" if !$to;
        $value = $to;
    }

    return $value;
}


sub is_number {
    my ($value) = @_;

    return 0 if !defined $value || ref $value;

    my $flags = B::svref_2object(\$value)->FLAGS;

    return ($flags & (B::SVf_IOK | B::SVf_NOK)) && !($flags & B::SVf_POK);
}


sub is_type {
    my ($type, $value) = @_;

    return ref $value eq 'HASH'  if $type eq 'object';
    return ref $value eq 'ARRAY' if $type eq 'array';
    return ref $value && ref($value) =~ /Boolean/ if $type eq 'boolean';
    return is_number($value) && $value == int $value if $type eq 'integer';
    return is_number($value) if $type eq 'number';
    return defined $value && !ref $value && !is_number($value)
        if $type eq 'string';

    die "unknown type \"$type\"\n";
}


sub equal {
    my ($one, $two) = @_;

    return 0 if !defined $one || !defined $two;
    return (ref $one eq ref $two && !!$one eq !!$two) if ref $one || ref $two;
    return !is_number($one) == !is_number($two) && $one eq $two;
}


sub show { defined $_[0] ? "\"$_[0]\"" : 'null' }


1;
